"""The human study (Table 4): people rate videos without knowing which method made them.

`python -m magdiff_eval.human make` turns folders of videos into a study, `serve` gives raters their page, and `report`
says what they answered.
"""
