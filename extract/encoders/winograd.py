"""3 x 3 convolution, stride 1, by Winograd's F(4 x 4, 3 x 3): 36 products per 16 outputs instead of 144.

Lavin and Gray 2016, arXiv 1509.09308.  An image is cut into tiles of 4 x 4 outputs, each from
6 x 6 overlapping inputs.  Input tiles and kernels are transformed, multiplied (36 matrix products
over channels, each for all tiles), and transformed back.  The transforms are matrix products too,
along one axis at a time: on a CPU they read the memory once, where sums of slices read it twelve times.

In float32 this differs from direct convolution by some 1e-6 of the largest value.  In bfloat16 the
transforms would lose too much: use a direct convolution there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

INPUT = torch.tensor(
    [
        [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ]
)
"""B^T of the paper: six inputs to six points."""
KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
"""G of the paper: three taps to six points."""
OUTPUT = torch.tensor(
    [
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ]
)
"""A^T of the paper: six points to four outputs."""


class WinogradConv(nn.Module):
    """Convolution of an image [height, width, C] with a kernel [C, C, 3, 3], zeros around it.

    Write the image into what `framed` returns (memory with a border of zeros), then call `forward`.
    Both use the same memory at every call, because new memory costs as much time as the transforms:
    write, convolve and use one image before the next.
    """

    def __init__(self, kernel: Tensor, height: int, width: int) -> None:
        super().__init__()
        channels = self.channels = kernel.shape[0]
        if kernel.shape != (channels, channels, 3, 3):
            raise ValueError(f"expected a kernel [C, C, 3, 3], not {list(kernel.shape)}")
        self.height, self.width = height, width
        # One extra tile per row makes all tiles lie at equal distances in memory.
        self.rows, self.slots = -(-height // 4), -(-width // 4) + 1
        self.tiles = self.rows * self.slots
        points = torch.einsum("ai,ocij,bj->abco", KERNEL, kernel.detach().double(), KERNEL)
        self.kernel_points = points.float().contiguous()

        self.frame = torch.zeros(4 * self.rows + 2, 4 * self.slots, channels)
        # Two more columns, because the extra tile of the last row reads beyond its end.
        self.half_way = torch.zeros(6 * self.tiles * 4 + 2, channels)
        self.image_points = torch.empty(self.tiles, 6, channels)
        self.products = torch.empty(6, self.tiles, channels)
        self.blocks = torch.empty(4, 4, self.rows, self.slots, channels)
        self.output = torch.empty(height, width, channels)

    def framed(self) -> Tensor:
        """View of the image inside its border of zeros, [height, width, C]; write only here."""
        return self.frame[1 : self.height + 1, 1 : self.width + 1]

    def forward(self) -> Tensor:
        """The convolution of the image in `framed`, [height, width, C]; valid until the next call."""
        columns = 4 * self.tiles
        half_way = self.half_way[: 6 * columns]
        for row, line in enumerate(half_way.view(6, self.rows, -1).unbind(1)):
            torch.mm(INPUT, self.frame[4 * row : 4 * row + 6].view(6, -1), out=line)
        for point in range(6):
            # Six columns of every tile, the last two of them shared with the next tile.
            stride = (4 * self.channels, self.channels, 1)
            begin = point * columns * self.channels
            overlapping = self.half_way.as_strided((self.tiles, 6, self.channels), stride, begin)
            torch.bmm(INPUT.expand(self.tiles, 6, 6), overlapping, out=self.image_points)
            torch.bmm(self.image_points.transpose(0, 1), self.kernel_points[point], out=self.products)
            # Back into the memory of the columns just used: four a tile again.
            back = half_way[point * columns : (point + 1) * columns]
            torch.mm(OUTPUT, self.products.view(6, -1), out=back.view(4, -1))
        torch.mm(OUTPUT, half_way.view(6, -1), out=self.blocks.view(4, -1))
        return self.place()

    def place(self) -> Tensor:
        """Blocks of 4 x 4 pixels to the image; pixels beyond its edges are dropped."""
        for row in range(4):
            for column in range(4):
                target = self.output[row::4, column::4]
                target.copy_(self.blocks[row, column, : target.shape[0], : target.shape[1]])
        return self.output
