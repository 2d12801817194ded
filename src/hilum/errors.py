"""Every error Hilum raises on purpose: what is wrong, where, and what to do next."""


class HilumError(Exception):
    """The family's root; catching it catches all that Hilum raises on purpose."""


class ReadError(HilumError):
    """A file or buffer could not be read as one radiograph.

    The message reads ``file: reason; remedy``, and the three parts are kept as attributes.
    """

    def __init__(self, file: str, reason: str, remedy: str) -> None:
        super().__init__(f"{file}: {reason}; {remedy}")
        self.file = file
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["ReadError"], tuple[str, str, str]]:
        return type(self), (self.file, self.reason, self.remedy)


class StorageError(ReadError):
    """A film's disk or network failed while it was read; another attempt may succeed."""


class ConfigError(HilumError):
    """A setting, an argument or a configuration file does not make sense."""


class DataError(HilumError):
    """A data set is missing, incomplete or not laid out as its kind demands."""


class CheckpointError(HilumError):
    """A checkpoint folder is missing, damaged or not suited to the request."""


class TrainingError(HilumError):
    """Training had to stop; the last good checkpoint is kept."""


class DivergedError(TrainingError):
    """The loss of a training run is not a finite number."""


class OutOfMemoryError(TrainingError):
    """A training run does not fit into the memory of its GPU."""


class UnknownLabelError(HilumError, KeyError):
    """A prediction has no score for the requested label."""

    def __str__(self) -> str:  # KeyError would quote the message
        return str(self.args[0])


class MissingExtraError(HilumError):
    """A part of Hilum needs packages that this installation lacks."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs: pip install 'hilum[{extra}]' (in a clone: pip install '.[{extra}]')")
        self.what = what
        self.extra = extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), (self.what, self.extra)
