"""10. Convolution, seen: shapes, parameters, one number term by term, and the maps of a photograph.

    python examples/lecture/10_convolution_seen.py --out pictures

A filter slides over an image; each number of an activation map is the dot product of the filter
with the patch below it, plus a bias. Last, convolutions of random shapes are held against scipy's.

Source: the shapes and counts are those of Stanford's CS231n, "Convolutional Networks", 2015.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from checks import correlated, distance
from common import Arguments, Lesson, extra
from pictures import images

import graphc
from graphc import nn, ops


def shapes(lesson: Lesson) -> None:
    """Two layers on a colour image of 32x32, and a 3x3 filter on 7x7 with three strides."""
    first, second = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 10, 5)
    six = first(graphc.input("x", (1, 3, 32, 32)))
    for claim, layer, maps, known in (
        ("six 5x5x3 filters on 32x32x3", first, six, "28x28x6, 456 parameters"),
        ("ten 5x5x6 filters on those", second, second(six), "24x24x10, 1,510 parameters"),
    ):
        _, channels, height, width = maps.shape
        weights = sum(parameter.value.size for parameter in layer.parameters())
        found = f"{height}x{width}x{channels}, {weights:,} parameters"
        lesson.equal(claim, found, known)

    image, kernel = graphc.input("image", (1, 1, 7, 7)), graphc.input("kernel", (1, 1, 3, 3))
    for stride, known in ((1, "5x5"), (2, "3x3"), (3, "refused: (7 - 3)/3 is not a whole number")):
        try:
            found = "x".join(map(str, ops.conv2d(image, kernel, stride=stride).shape[2:]))
        except graphc.ShapeError as error:
            print(error, end="\n\n")  # with what would fit
            found = "refused: " + str(error).splitlines()[0].split(": ")[-1]
        lesson.equal(f"a 3x3 filter on 7x7, stride {stride}", found, known)


def one_number(lesson: Lesson) -> None:
    """The number at (4, 9) of the third map: 75 products and a bias."""
    graphc.seed(0)
    layer, x = nn.Conv2d(3, 6, 5).double(), graphc.input("x", (1, 3, 32, 32), "float64")
    output = layer(x)[0, 2, 4, 9]
    terms = x[0, :, 4:9, 9:14] * layer.weight.node[2]
    number = graphc.compile({"terms": terms, "bias": layer.bias.node[2], "y": output})
    lesson.inside("The layer and its 75 terms as mathematics", number.as_text("graph"))
    found = number(np.random.default_rng(0).random((1, 3, 32, 32)))
    for channel, products in zip(("red", "green", "blue"), found["terms"], strict=True):
        print(f"{channel}, patch times filter:\n{np.array2string(products, precision=4, sign=' ')}")
    total, y = math.fsum([*found["terms"].flat, found["bias"]]), float(found["y"])
    print(f"their sum and the bias {found['bias']:.4f}: {total:.15f}; the layer: {y:.15f}\n")
    same = found["terms"].size == 75 and abs(y - total) < 1e-14
    lesson.claim("one number of the third map", y, f"75 terms and the bias: {total:.4g}", same)


def far_from_scipy(random: np.random.Generator, count: int) -> float:
    """The largest difference to scipy over convolutions of random shapes, all in one program."""
    maps, arrays, known = {}, {}, {}
    for i in range(count):
        n, c, f, r, s, *stride = map(int, random.integers(1, 5, 7))
        padding, (h, w) = random.integers(0, 3, 2).tolist(), map(int, random.integers(4, 13, 2))
        image = graphc.input(f"image{i}", (n, c, h, w), "float64")
        kernel = graphc.input(f"kernel{i}", (f, c, r, s), "float64")
        maps[i] = ops.conv2d(image, kernel, stride=stride, padding=padding, floor=True)
        pixels, filters = (random.standard_normal(node.shape) for node in (image, kernel))
        arrays |= {f"image{i}": pixels, f"kernel{i}": filters}
        known[i] = correlated(pixels, filters, stride, padding)
    found = graphc.compile(list(maps.values()), threads=1)(**arrays)
    return float(np.max([distance(found[i], known[i]) for i in maps]))


def activation_maps(lesson: Lesson) -> None:
    """A photograph made 32x32x3, and six maps: edges of four directions, dots, and blue."""
    ramp, ones = np.arange(-2.0, 3.0), np.ones((5, 5))
    dot = np.where(np.maximum.outer(abs(ramp), abs(ramp)) < 2, 16.0, -9.0)
    across, down = ramp * ones, ramp[:, None] * ones
    grey = [across, down, down + across, down - across, dot]
    filters = np.array([[k, k, k] for k in grey] + [[-ones, -ones, 2 * ones]], np.float32)
    photograph = extra("sklearn.datasets").load_sample_image("china.jpg")[None, 5:421, 110:526]
    pixels = graphc.input("pixels", photograph.shape, "uint8")
    bright = ops.permute(ops.cast(pixels, "float32") / 255, (0, 3, 1, 2))
    small = ops.avg_pool2d(bright, 13)
    maps = ops.relu(ops.conv2d(small, filters))
    image, seen = graphc.compile([ops.permute(small, (0, 2, 3, 1)), maps])(photograph)
    blocks = photograph[0].reshape(32, 13, 32, 13, 3).mean((1, 3)) / 255
    lesson.at_most("blocks of 13x13 pixels beside their means", distance(image[0], blocks), 1e-5)
    known = np.maximum(correlated(blocks.transpose(2, 0, 1)[None], filters), 0)
    far = distance(seen, known) / float(known.max())
    lesson.at_most("its six maps beside scipy's, difference over the largest", far, 1e-5)

    names = ["32x32x3", "edges |", "edges -", "edges \\", "edges /", "dots", "blue"]
    shown = dict(zip(names, [image[0], *seen[0]], strict=True))
    lesson.draw("10_convolution_seen.png", partial(images, shown), (7.6, 3.8))


def main(arguments: Arguments = None) -> dict[str, object]:
    """Shapes, one number, maps, and shapes by the thousand."""
    lesson = Lesson(__doc__, arguments, needs=["scipy.signal", "sklearn.datasets", "PIL"])
    shapes(lesson)
    one_number(lesson)
    activation_maps(lesson)
    random = np.random.default_rng(0)
    programs, each = (1, 50) if lesson.quick else (100, 100)
    far = float(np.max([far_from_scipy(random, each) for _ in range(programs)]))
    claim = f"{programs * each:,} random shapes beside scipy"
    lesson.claim(claim, far, "differ by less than 1e-12", far < 1e-12)
    return lesson.finish()


if __name__ == "__main__":
    main()
