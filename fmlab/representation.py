"""How objects that a configuration names are shown: in messages, in tables and in the keys of records."""


class ShownByAttributes:
    """Shown as the call that makes it, for classes whose attributes are the constructor's arguments."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
