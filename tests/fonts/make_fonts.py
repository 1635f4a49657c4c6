"""Cuts the small test fonts out of Noto Sans CJK and Noto Sans Arabic (fonttools 4.68).

usage: make_fonts.py NotoSansCJK-Regular.ttc NotoSansArabic-Regular.ttf
"""

import pathlib
import sys

from fontTools import subset

HERE = pathlib.Path(__file__).parent


def cut(source, number, text, name):
    options = subset.Options()
    options.layout_features = ["*"]
    options.name_IDs = [1, 2, 4, 6, 13, 14]
    options.hinting = False
    options.font_number = number
    font = subset.load_font(source, options)
    cutter = subset.Subsetter(options)
    cutter.populate(text=text)
    cutter.subset(font)
    subset.save_font(font, HERE / name, options)


cjk, arabic = sys.argv[1:]
# The third face of the collection is the simplified Chinese one.
cut(cjk, 2, "中文猫 ", "chinese.otf")
cut(arabic, 0, "قطة ", "arabic.ttf")
