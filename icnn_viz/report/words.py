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
        "Every dot is the place of one weight after training, in the colour of the slot (+) where it started; solid "
        "and dashed ellipses are one and two standard deviations of a slot's dots.",
        "Small ellipses on their slots mean a nearly regular kernel; wide, shifted or stretched ones mean that "
        "training gave the kernel another shape.",
    ),
    "3d": Words(
        "The same, shape by shape",
        "The same dots, with the number of the shape they belong to as the height: the dots at one height make up one "
        "shape.",
        "A straight column over its slot is a weight that hardly moved in any shape; a scattered one moved "
        "differently in each.",
    ),
    "field": Words(
        "How far they moved",
        "On the left a ray runs from the centre of each slot's dots to every dot; on the right an arrow runs from "
        "each slot to that centre, made longer by the factor that is stated, with the true length beside it.",
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
    "layers": Words(
        "All layers side by side",
        "Every irregular layer in the order in which the image passes through them, its slots and ellipses all on "
        "one scale, in steps of the regular grid.",
        "It shows at a glance which layers changed their shape and which stayed regular.",
    ),
    "depth": Words(
        "From the first layer to the last",
        "For the typical slot of each layer, how stretched its cloud is (elongation, 1 is round) and how wide "
        "(spread, in pixels), with bars that hold the true value 95 times in 100.",
        "The paper saw longer and narrower clouds in deeper layers: then the upper points would rise to the right.",
    ),
    "rose": Words(
        "Which way they stretch",
        "A spoke lies along the long axis of one slot's cloud and is as long as the cloud is stretched; the dot of "
        "its colour on the rim shows in which direction from the kernel's centre the slot lies.",
        "A spoke that points at its dot is a cloud stretched outwards, and the inner ring is a round cloud.",
    ),
    "heat": Words(
        "Every slot of every layer",
        "One row a layer, one column a slot; colour and number are the elongation of that slot's cloud, 1 being "
        "round.",
        "Look for rows or columns that stand out; hatched cells have no cloud to measure: its points did not "
        "spread, or too few shapes serve the layer.",
    ),
    "trajectory": Words(
        "How the positions moved during training",
        "Every comet is the way of one position, thin and pale at the start of training and ending in its head; the "
        "bold lines follow the centre of each slot.",
        "Long straight comets are weights that training pulled somewhere; short curls are weights without a "
        "direction.",
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
        "cross; the last map is the difference, purple where the first network depends more on the image, orange "
        "where the other does.",
        "A network that uses the whole object lights up the object, and one that is distracted lights up its "
        "surroundings; the table below the maps puts that in numbers.",
    ),
}

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
