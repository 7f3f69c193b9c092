"""Networks for the matrix, of transformers and, where it is installed, of timm: tiny, with random weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from matrix_networks import NO_STACK, TOKENS, Case, real

TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 30,
    "max_position_embeddings": 16,
    "num_labels": 4,
}
IMAGE = {
    key: value for key, value in TEXT.items() if key not in ("vocab_size", "max_position_embeddings")
} | {
    "image_size": 16,
    "patch_size": 8,
}


def logits(out: Any) -> Tensor:
    return out["logits"]


def made(name: str, config: str, **settings: Any) -> Callable[[], nn.Module]:
    """A model of transformers, imported when it is built."""

    def build() -> nn.Module:
        import transformers

        return getattr(transformers, name)(getattr(transformers, config)(**settings))

    return build


def words(n: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, 30, (n, 6)), "attention_mask": torch.ones(n, 6, dtype=torch.long)}


def pixels(size: int = 16, frames: int | None = None) -> Callable[[int], dict[str, Tensor]]:
    shape = (3, size, size) if frames is None else (frames, 3, size, size)
    return lambda n: {"pixel_values": torch.randn(n, *shape)}


def text(name: str, prefix: str, blocks: str = "encoder.layer", **settings: Any) -> Case:
    names = [f"{prefix}.{blocks}.{i}" for i in range(2)]
    model = name.removesuffix("ForSequenceClassification")
    build = made(name, f"{model}Config", **(TEXT | settings))
    return Case(f"{model} (transformers)", build, words, [names[1]], names, TOKENS, logits)


def vision(name: str, blocks: str, size: int = 16, **settings: Any) -> Case:
    names = [f"{blocks}.{i}" for i in range(2)]
    model = name.removesuffix("ForImageClassification")
    build = made(name, f"{model}Config", **(IMAGE | settings))
    return Case(f"{model} (transformers)", build, pixels(size), [names[0]], names, None, logits)


def seq2seq(n: int) -> dict[str, Tensor]:
    ids = torch.randint(3, 30, (n, 6))
    ids[:, -1] = 2  # the end, whose state is classified
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


HUGGING_FACE = [
    text("BertForSequenceClassification", "bert"),
    text("RobertaForSequenceClassification", "roberta", max_position_embeddings=20),
    text("ElectraForSequenceClassification", "electra", embedding_size=16),
    text(
        "DistilBertForSequenceClassification",
        "distilbert",
        "transformer.layer",
        dim=16,
        n_layers=3,
        n_heads=2,
        hidden_dim=16,
    ),
    text("GPT2ForSequenceClassification", "transformer", "h", n_embd=16, n_layer=3, n_head=2, pad_token_id=0),
    text("LlamaForSequenceClassification", "model", "layers", num_key_value_heads=2, pad_token_id=0),
    text(
        "ModernBertForSequenceClassification",
        "model",
        "layers",
        pad_token_id=0,
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
    ),
    Case(
        "Albert, one block for all (transformers)",
        made("AlbertForSequenceClassification", "AlbertConfig", **TEXT, embedding_size=16),
        words,
        ["albert.embeddings"],
        NO_STACK,
        TOKENS,
        logits,
    ),
    Case(
        "Bart, encoder and decoder (transformers)",
        made(
            "BartForSequenceClassification",
            "BartConfig",
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            vocab_size=30,
            max_position_embeddings=16,
            num_labels=4,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
        ),
        seq2seq,
        ["model.decoder"],
        NO_STACK,
        TOKENS,
        logits,
    ),
    vision("ViTForImageClassification", "vit.layers"),
    vision("DeiTForImageClassification", "deit.layers"),
    vision("Dinov2ForImageClassification", "dinov2.encoder.layer"),
    Case(
        "Swin (transformers)",
        made(
            "SwinForImageClassification",
            "SwinConfig",
            image_size=16,
            patch_size=2,
            embed_dim=8,
            depths=[1, 1, 1],
            num_heads=[1, 2, 2],
            window_size=2,
            num_labels=4,
        ),
        pixels(),
        ["swin.encoder.layers.0"],
        ["swin.encoder.layers.0", "swin.encoder.layers.1"],
        None,
        logits,
    ),
    Case(
        "ConvNeXt (transformers)",
        made(
            "ConvNextForImageClassification",
            "ConvNextConfig",
            hidden_sizes=[8, 8, 16],
            depths=[1, 2, 1],
            num_stages=3,
            num_labels=4,
        ),
        pixels(32),
        ["convnext.encoder.stages.0"],
        ["convnext.encoder.stages.0", "convnext.encoder.stages.1"],
        None,
        logits,
    ),
    Case(
        "ResNet (transformers)",
        made(
            "ResNetForImageClassification",
            "ResNetConfig",
            embedding_size=8,
            hidden_sizes=[8, 8, 16],
            depths=[1, 2, 1],
            layer_type="basic",
            num_labels=4,
        ),
        pixels(32),
        ["resnet.encoder.stages.0"],
        ["resnet.encoder.stages.0", "resnet.encoder.stages.1"],
        None,
        logits,
    ),
    Case(
        "Segformer, segmentation (transformers)",
        made(
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            depths=[1, 1],
            hidden_sizes=[8, 8],
            num_encoder_blocks=2,
            num_attention_heads=[1, 1],
            sr_ratios=[1, 1],
            patch_sizes=[7, 3],
            strides=[4, 2],
            mlp_ratios=[2, 2],
            decoder_hidden_size=8,
            num_labels=4,
        ),
        pixels(32),
        # The head reads states of the stages that hooks of the library collect.
        ["segformer.stages.0", "decode_head.activation"],
        NO_STACK,
        None,
        logits,
        wrong={"segformer": "changes nothing"},
    ),
    Case(
        "Wav2Vec2, sound (transformers)",
        made(
            "Wav2Vec2ForSequenceClassification",
            "Wav2Vec2Config",
            **TEXT,
            conv_dim=(8, 8),
            conv_stride=(5, 4),
            conv_kernel=(10, 8),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            layerdrop=0.0,
            mask_time_prob=0.0,
            classifier_proj_size=8,
        ),
        lambda n: {"input_values": torch.randn(n, 400)},
        ["wav2vec2.encoder.layers.0"],
        ["wav2vec2.encoder.layers.0", "wav2vec2.encoder.layers.1"],
        None,
        logits,
    ),
    Case(
        "VideoMAE, video (transformers)",
        made("VideoMAEForVideoClassification", "VideoMAEConfig", **IMAGE, num_frames=4, tubelet_size=2),
        pixels(16, 4),
        ["videomae.encoder.layer.0"],
        ["videomae.encoder.layer.0", "videomae.encoder.layer.1"],
        None,
        logits,
    ),
]


def timm_model(name: str, **settings: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision_stand_in import torchvision

        with torchvision():
            import timm

            return timm.create_model(name, num_classes=4, **settings)

    return build


def timm_case(name: str, size: int, found: list[str], **settings: Any) -> Case:
    return Case(
        f"{name.removeprefix('test_')} (timm)",
        timm_model(name, **settings),
        real((3, size, size)),
        found[:1],
        found,
    )


STAGES = ["stages.0", "stages.1", "stages.2"]
TIMM = [
    timm_case("test_convnext", 64, STAGES),
    timm_case("test_mambaout", 64, STAGES),
    timm_case("test_resnet", 64, ["layer1", "layer2"]),
    timm_case("test_efficientnet", 64, ["blocks.3"]),
    timm_case("test_vit", 64, [f"blocks.{i}" for i in range(5)], img_size=64),
]

CASES = [*HUGGING_FACE, *TIMM]
