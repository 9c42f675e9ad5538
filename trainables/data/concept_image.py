"""ConceptImage: a file with an image of the object, as the user gave it."""

import hashlib
import io
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from PIL import Image, ImageOps, UnidentifiedImageError

from trainables.data.image_files import UNREADABLE, missing_reader
from trainables.data.pixels import is_rescaled, to_rgb
from trainables.errors import InvalidInput

MAX_PIXELS = 150_000_000  # a 12,000 x 12,000 image takes 576 MB as RGB; anything larger is a mistake or an attack
#: Beyond so many pixels, which take 500 MB at most while they are decoded, a file must have as many bytes as a picture
#: of that size has: the plainest photographs have a byte for 40 pixels, and files that only claim a size for thousands.
FREE_PIXELS, PIXELS_PER_BYTE = 40_000_000, 300


@dataclass(frozen=True)
class ConceptImage:
    """An image file as the user gave it: its name and its bytes, so that a worker needs no shared folder."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def identity(self) -> str:
        """What distinguishes its pixels: the hash of its bytes, marked if earlier versions decoded them otherwise."""
        with suppress(*UNREADABLE, Image.DecompressionBombError), warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(self.data)) as image:
                if is_rescaled(image):
                    return f"{self.sha256} rescaled"
        return self.sha256

    def decode(self) -> Image.Image:
        """Return the first frame as RGB, upright (EXIF rotation applied), transparency on white.

        Raises:
            InvalidInput: Pillow cannot read it, it is cut off, or it has more than `MAX_PIXELS` pixels.
        """
        if missing := missing_reader(self.data):
            raise InvalidInput(f"{self.name} {missing}; install it, or convert the image to JPEG or PNG")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(self.data)) as image:
                    self._check_size(image)
                    return to_rgb(ImageOps.exif_transpose(image))
        except InvalidInput:
            raise
        except Image.DecompressionBombError as error:
            raise InvalidInput(_too_large(self.name, str(error))) from error
        except UnidentifiedImageError as error:
            raise InvalidInput(f"{self.name} is not an image that Pillow can read; remove it or convert it") from error
        except UNREADABLE as error:
            raise InvalidInput(f"{self.name} is damaged or cut off ({error}); replace it or remove it") from error

    def later_frames(self) -> int:
        """Return how many frames or pages follow the first, which is all that `decode` returns; 0 if unknown."""
        with suppress(*UNREADABLE), warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(self.data)) as image:
                # What cameras put behind a JPEG (MPO) are previews of the same picture.
                return 0 if image.format == "MPO" else getattr(image, "n_frames", 1) - 1
        return 0

    def _check_size(self, image: Image.Image) -> None:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise InvalidInput(_too_large(self.name, f"{width} x {height} pixels"))
        if width * height > FREE_PIXELS + PIXELS_PER_BYTE * len(self.data):
            raise InvalidInput(
                f"{self.name} claims {width} x {height} pixels, but has only {len(self.data):,} bytes; replace it or "
                "remove it"
            )


def _too_large(name: str, detail: str) -> str:
    return f"{name} is too large ({detail}; at most {MAX_PIXELS:,} pixels); scale it down or remove it"
