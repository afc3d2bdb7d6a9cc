# One virtual environment, five verbs: demo, test, lint, types, docs; and a check of what users install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types docs below-mmmos install check-install clean

# The lock goes in without dependency resolution: what some packages declare (torchaudio,
# torchvision) breaks transformers beside a CPU build of torch.  torch itself goes in first,
# with its dependencies, because a CUDA build brings libraries that the lock does not list.
$(VENV)/.installed: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' requirements.lock)" -c requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements.lock
	touch $@

install: $(VENV)/.installed

# What a user does, in a folder that is deleted again: a new environment of PYTHON, `pip install .`, and
# every encoder made and run.  WHAT: a wheel or an sdist in place of the repository.  BEFORE: what
# is installed first, such as a CPU build of torch.  The index's CUDA build takes 6 GB.
WHAT ?= .
BEFORE ?=
check-install:
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; start=$$(date +%s); \
	$(PYTHON) -m venv "$$folder/venv"; pip="$$folder/venv/bin/python -m pip --disable-pip-version-check"; \
	for what in $(BEFORE) "$(WHAT)"; do $$pip install -q "$$what"; done; $$pip check; \
	echo "installed in $$(($$(date +%s) - start)) s, $$(du -sm "$$folder/venv" | cut -f1) MB"; \
	"$$folder/venv/bin/python" -P tests/fresh_install.py

demo: install
	$(BIN)/python pipeline.py demo

test: install
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy and the documentation want the folders where the wheel has them: below `mmmos`.
below-mmmos: install
	mkdir -p build/types/mmmos
	ln -sfn $(CURDIR)/mmmos/* $(CURDIR)/store $(CURDIR)/extract $(CURDIR)/heads $(CURDIR)/pipeline.py build/types/mmmos

types: below-mmmos
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p mmmos

# The pages of docs/ as a site in build/site; a link that leads nowhere fails.
docs: below-mmmos
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

clean:
	rm -rf $(VENV) work demo
