"""The screens: one thin file per page; parts/ holds what several of them draw."""
