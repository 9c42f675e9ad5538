"""Keeps the model libraries' remarks and bars, which are for interactive use, out of a program's output."""


def quiet_libraries() -> None:
    """Let transformers and diffusers report errors alone; they tell of every optional package and file otherwise."""
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
