"""Tiny random checkpoints of the real classes, saved in the hub's layout: for what wiring can show, not quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    CLIPImageProcessor,
    CLIPTokenizer,
    CLIPVisionConfig,
    EdgeTamVideoConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    OPTConfig,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    Sam2ImageProcessor,
    Sam2VideoConfig,
    Sam2VideoProcessor,
    Sam2VisionConfig,
    Sam3ImageProcessor,
    Sam3VideoConfig,
    Sam3VideoModel,
    Sam3VideoProcessor,
    SwinConfig,
    T5Config,
)
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig
from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

from magdiff_curation.sam import SamArchitecture, new_sam, save_sam
from magdiff_curation.trackers.sam2 import MODELS

SAM2_SIDE, SAM3_SIDE = 64, 112
SAM2_CONFIGS = {"sam2_video": Sam2VideoConfig, "edgetam_video": EdgeTamVideoConfig}
TINY_SAM = SamArchitecture(
    embed_dim=16, depth=2, num_heads=2, global_attention_layers=(1,), window_size=2, image_size_px=64,
    patch_size_px=8, prompt_dim=16, mask_prompt_channels=4, decoder_mlp_dim=32, decoder_heads=2,
)  # fmt: skip
TEXTS = ["Question: What is the foreground in the picture? Answer: a rabbit in a meadow", "USER: ASSISTANT: dog."]


def byte_tokenizer(**names: str) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE that opens every text with `</s>`, as OPT's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", pad_token="<pad>", **names
    )


def save_blip2(folder: Path, language_model: str) -> Path:
    """Save a BLIP-2 with an OPT or a T5."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    if language_model == "opt":
        text = OPTConfig(hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=1,
                         num_attention_heads=2, max_position_embeddings=128, **ids)  # fmt: skip
    else:
        text = T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0, **ids)
    config = Blip2Config(
        vision_config={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                       "image_size": 32, "patch_size": 8, "initializer_range": 0.02},
        qformer_config={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                        "encoder_hidden_size": 16, "vocab_size": 8},
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    pixels = BlipImageProcessor(size={"height": 32, "width": 32})
    Blip2Processor(pixels, tokenizer, num_query_tokens=4).save_pretrained(folder)
    return folder


def save_llava(folder: Path) -> Path:
    """Save a LLaVA, a model that is asked through a chat template."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(image_token="<image>")
    text = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                       num_attention_heads=2, num_key_value_heads=2, bos_token_id=1, eos_token_id=1,
                       pad_token_id=0)  # fmt: skip
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                              image_size=32, patch_size=8)  # fmt: skip
    config = LlavaConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    template = (
        "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}"
        "{{ c['text'] }}{% endif %}{% endfor %} ASSISTANT:{% endfor %}"
    )
    pixels = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    LlavaProcessor(
        image_processor=pixels, tokenizer=tokenizer, patch_size=8, vision_feature_select_strategy="default",
        chat_template=template, num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_grounding_dino(folder: Path) -> Path:
    """Save a Grounding-DINO with a Swin backbone and a BERT, as the published ones."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "rabbit", "dog", "a"]
    (folder / "vocab.txt").write_text("\n".join(words))
    backbone = SwinConfig(image_size=32, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
                          out_features=["stage2", "stage3", "stage4"])  # fmt: skip
    text = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                      intermediate_size=32, max_position_embeddings=64)  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=text.to_dict(), d_model=32, num_queries=12, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_attention_heads=2, max_text_len=64,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    pixels = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(pixels, BertTokenizer(str(folder / "vocab.txt"))).save_pretrained(folder)
    return folder


def letter_tokenizer(max_length: int) -> CLIPTokenizer:
    """Return a CLIP tokenizer that spells every word in small Latin letters."""
    letters = [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=max_length)


def save_owlv2(folder: Path) -> Path:
    """Save an OWLv2."""
    torch.manual_seed(0)
    tokenizer = letter_tokenizer(max_length=16)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 16,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    config = Owlv2Config(
        text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    model = Owlv2ForObjectDetection(config)
    with torch.no_grad():  # heads of such wide random weights saturate: every box would be a line at the edge
        for layer in (model.box_head.dense0, model.box_head.dense1, model.box_head.dense2):
            layer.weight *= 0.2
    model.save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def save_deaot(path: Path) -> Path:
    """Save a DeAOT-T whose masks hang on its memory: another seed gives empty ones."""
    from magdiff_curation.trackers.deaot import new_model  # its package may be missing

    torch.manual_seed(1)
    model = new_model("deaott")
    torch.nn.init.normal_(model.decoder.conv_out.weight)
    torch.nn.init.zeros_(model.decoder.conv_out.bias)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights}, path)
    return path


def save_tiny_sam(folder: Path) -> Path:
    """Save a Segment Anything."""
    torch.manual_seed(0)
    save_sam(new_sam(TINY_SAM), TINY_SAM, folder)
    return folder


def sam2_config(kind: str) -> Any:
    """Return the configuration of a tiny SAM 2 or EdgeTAM."""
    # The memory attention's width of 64 is fixed in transformers, and pointers must be wider than that.
    width: dict[str, Any] = {"hidden_size": 128}
    backbone = Sam2HieraDetConfig(
        image_size=[SAM2_SIDE, SAM2_SIDE],
        hidden_size=8,
        embed_dim_per_stage=[8, 16, 32, 64],
        blocks_per_stage=[1, 1, 2, 1],
        global_attention_blocks=[3],
        window_size_per_stage=[4, 4, 2, 2],
        window_positional_embedding_background_size=[2, 2],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=128,
    )
    if kind == "edgetam_video":
        sizes: dict[str, Any] = {"memory_attention_rope_k_sizes": [2, 2], "memory_attention_mlp_hidden_size": 32}
        sizes |= {"perceiver_resampler_num_latents": 4, "perceiver_resampler_num_latents_2d": 4}
    else:
        sizes = {"memory_attention_feed_forward_hidden_size": 32}
    return SAM2_CONFIGS[kind](
        vision_config=vision,
        prompt_encoder_config=width | {"image_size": SAM2_SIDE},
        mask_decoder_config=width | {"mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
        image_size=SAM2_SIDE,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
        **sizes,
    )


def save_sam2(folder: Path, kind: str = "sam2_video") -> Path:
    """Save a SAM 2 for videos, or an EdgeTAM."""
    torch.manual_seed(0)
    MODELS[kind](sam2_config(kind)).save_pretrained(folder)
    size = {"height": SAM2_SIDE, "width": SAM2_SIDE}
    pictures = Sam2ImageProcessor(size=size, mask_size={"height": SAM2_SIDE // 4, "width": SAM2_SIDE // 4})
    Sam2VideoProcessor(pictures, Sam2VideoVideoProcessor(size=size)).save_pretrained(folder)
    return folder


def sam3_config(vocabulary_size: int, **options: Any) -> Sam3VideoConfig:
    """Return the configuration of a tiny SAM 3 for videos."""
    # The memory attention's width of 64 is fixed in transformers, and pointers must be wider than that.
    width: dict[str, Any] = {"hidden_size": 128, "num_attention_heads": 2}
    layer = width | {"intermediate_size": 32, "num_layers": 1}
    vision = {
        "model_type": "sam3_vision_model",
        "fpn_hidden_size": 128,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SAM3_SIDE,
            "pretrain_image_size": SAM3_SIDE // 2,
            "window_size": 4,
            "global_attn_indexes": [1],
        },
    }
    text = {
        "model_type": "clip_text_model",
        "vocab_size": vocabulary_size,
        "hidden_size": 32,
        "intermediate_size": 32,
        "projection_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "eos_token_id": vocabulary_size - 1,
    }
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": text,
        "geometry_encoder_config": layer,
        "detr_encoder_config": layer,
        "detr_decoder_config": layer | {"num_queries": 6},
        "mask_decoder_config": width,
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "prompt_encoder_config": {"hidden_size": 128, "image_size": SAM3_SIDE},
        "mask_decoder_config": width | {"mlp_dim": 32, "iou_head_hidden_dim": 32},
        "image_size": SAM3_SIDE,
        "memory_attention_hidden_size": 128,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [8, 8],
        "memory_encoder_hidden_size": 128,
        "mask_downsampler_embed_dim": 128,
        "memory_fuser_embed_dim": 128,
        "memory_fuser_intermediate_dim": 32,
        "memory_fuser_num_layers": 1,
    }
    return Sam3VideoConfig(detector_config=detector, tracker_config=tracker, low_res_mask_size=32, **options)


def save_sam3(folder: Path, **options: Any) -> Path:
    """Save a SAM 3 whose detector sees something everywhere and whose tracker never loses it."""
    tokenizer = letter_tokenizer(max_length=32)
    torch.manual_seed(0)
    model = Sam3VideoModel(sam3_config(len(tokenizer), **options))
    torch.nn.init.constant_(model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias, 5.0)
    model.save_pretrained(folder)
    size, mean = {"height": SAM3_SIDE, "width": SAM3_SIDE}, [0.5, 0.5, 0.5]
    pictures = Sam3ImageProcessor(size=size, mask_size={"height": 32, "width": 32})
    videos = Sam2VideoVideoProcessor(size=size, image_mean=mean, image_std=mean)
    Sam3VideoProcessor(pictures, videos, tokenizer).save_pretrained(folder)
    return folder
