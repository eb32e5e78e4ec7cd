"""Two sentences over every figure, for a reader who never heard of the method: what is shown, how to read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """A figure's title and its two sentences."""

    title: str
    what: str
    reading: str


FIGURES = {
    "cloud": Words(
        "Where the weights lie",
        "Every dot is the place of one weight after training, in the colour of the slot (+) where it started, or, "
        "where weights moved little, how far and which way it went, in the panel of its slot; solid and dashed "
        "ellipses are one and two standard deviations of a slot's dots.",
        "Small ellipses on their slots mean a nearly regular kernel; wide, shifted or stretched ones mean that "
        "training gave the kernel another shape.",
    ),
    "3d": Words(
        "The same, with the weights",
        "The same dots, as high as the weight that lies there is large; of a layer with very many shapes a surface, as "
        "high as dots lie close.",
        "High dots are the weights that count most: look whether they stayed over their slots or went elsewhere.",
    ),
    "zoo": Words(
        "The shapes that changed most",
        "Single shapes on their slots (+), those first whose weights went farthest; a disc is one weight, its area the "
        "weight's size, its colour the slot it came from, and it is hollow below zero.",
        "Discs that met, or left the grid, are kernels that no regular convolution has.",
    ),
    "shapes": Words(
        "The shape of each layer",
        "One kernel for each layer whose channels all share one shape: a line leads from each slot (+) to the disc "
        "where its weight lies, whose area is the weight's size.",
        "Short lines mean a nearly regular kernel, and all kernels are drawn on one scale, in steps of their grids.",
    ),
    "inspect": Words(
        "The layer's one shape",
        "On the left its weights on their slots, on the right where they lie after training; area and colour are the "
        "size of the weight.",
        "Long lines at large discs mean that the weights which count most have moved.",
    ),
    "histogram": Words(
        "Where the weights lie",
        "All positions of the layer in one map, without and with their weights, and how many lie at which "
        "distance from the kernel's centre.",
        "A bright middle means a kernel that looks near by, and a weighted line above the other one near 0 means that "
        "the weights near the centre count more.",
    ),
    "field": Words(
        "How far they moved",
        "On the left a ray runs from the centre of each slot's dots to every dot; on the right an arrow runs from "
        "each slot to that centre where more than chance moved it, made longer by the factor that is stated, with the "
        "true length beside it.",
        "Short arrows mean that on average the weights stayed where they were; a pale ellipse (95 % region of the "
        "centre) that leaves the slot out means that the shift is more than chance.",
    ),
    "qq": Words(
        "Are the clouds bell-shaped?",
        "Each line takes one slot's dots in the order of their distance from the centre and sets them against what "
        "a Gaussian (a bell) of that width would give.",
        "A line within the band along the diagonal is Gaussian; a line that bends upwards has more far-off dots "
        "than a Gaussian has.",
    ),
    "strip": Words(
        "The network at a glance",
        "One column for each irregular layer, in the order in which the image passes through them: the clouds of its "
        "slots, then for its typical slot how wide the cloud is (spread, in steps of the grid) and how stretched "
        "(elongation, 1 is round), how many weights moved, and the dilation.",
        "A row that rises or falls to the right is a change with depth, and a bar that begins at 1 is a cloud that may "
        "be round.",
    ),
    "layers": Words(
        "All layers side by side",
        "Every irregular layer in the order in which the image passes through them, its slots and ellipses all "
        "in steps of the regular grid, drawn longer by the factor over a panel (×) where they are small.",
        "It shows at a glance which layers changed their shape and which stayed regular.",
    ),
    "trajectory": Words(
        "How the positions moved during training",
        "Every comet is the way of one position, thin and pale at the start of training and ending in its head; the "
        "bold lines follow the centre of each slot.",
        "Long straight comets are weights that training pulled somewhere; short curls are weights without a "
        "direction.",
    ),
    "taps": Words(
        "Where the taps land",
        "Every dot is a place of the image that a layer reads for the pixel at the red cross, as large as its weight: "
        "on the left where the regular grid would lie, on the right where training put it; below, several layers.",
        "Dots that gather on the object, or reach beyond it, show what the layer was shaped for; they tell where it "
        "can look, the heatmap what the image made of it.",
    ),
    "grid": Words(
        "All pixels at once",
        "One column for each pixel asked about (red cross), one row for each network, brighter where the answer at "
        "the cross depends more on the image.",
        "Maps of one column share one scale and can be compared; columns have scales of their own.",
    ),
    "heatmap": Words(
        "What one pixel looks at",
        "Bright places are those where a small change of the image would change what the network answers at the red "
        "cross; the last map is the difference of both, each as shares of its sum, purple where the first network "
        "looks more, orange where the other does.",
        "A network that uses the whole object lights up the object, and one that is distracted lights up its "
        "surroundings; the four measures below the maps put that in numbers.",
    ),
}

_WITHOUT_SLOTS = {
    "3d": Words(
        "The same, with the weights",
        "Every dot is the place of one weight, as high as the weight that lies there is large; of a layer with very "
        "many shapes a surface, as high as dots lie close.",
        "High dots are the weights that count most: look whether they lie in the middle or far out.",
    ),
    "zoo": Words(
        "The shapes with the largest weights",
        "Single shapes around the centre of their kernel (+), those with the largest weights first; a disc is one "
        "weight, its area the weight's size, and it is hollow below zero.",
        "Discs in rows, or in two groups of which one is hollow, are kernels that look for lines and edges.",
    ),
}


def words_of(kind: str, has_slots: bool) -> Words:
    """Of a figure of FIGURES, of a layer whose positions start on slots or lie wherever they do."""
    return FIGURES[kind] if has_slots else _WITHOUT_SLOTS.get(kind, FIGURES[kind])


GLOSSARY = (
    ("kernel", "a small grid of weights that slides over the image; a layer has many"),
    ("slot", "the regular place of a weight in that grid, where its position starts"),
    ("position", "where the weight lies after training, in fractions of a pixel of the layer's input"),
    ("displacement", "how far, and which way, a position went from its slot"),
    ("shape", "one set of positions, one for each slot; a layer may have one for every input channel"),
    ("centre", "the mean of all positions of one slot"),
    ("elongation", "length over width of a cloud of positions; 1 is round"),
    (
        "spread",
        "one number for the size of a cloud: the geometric mean of its standard deviations, in pixels",
    ),
    ("dilation", "the spacing of the regular grid, in pixels"),
    ("logit", "the network's score for a class at a pixel, before it is turned into a probability"),
    ("heatmap", "how much that score depends on each pixel of the image"),
    (
        "mean IoU",
        "overlap of predicted and true areas over their union, averaged over classes; 100 % is perfect",
    ),
)
