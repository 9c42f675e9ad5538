"""Keeps the model libraries' remarks and progress bars, meant for interactive use, out of the program's output."""


def quiet_libraries() -> None:
    """Let transformers and diffusers report only errors; otherwise they remark on every optional package and file."""
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
