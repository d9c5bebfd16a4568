"""The sketch pack's world: what its pictures show, what its music plays, how its weights are trained.

`world` says what can happen, `scenes` draws it, `music` plays it, `captions` puts it into words,
and the trainers learn from the three together. The engine itself never imports this package.
"""
