"""Tiny random CLIP and DINO checkpoints in the hub's layout, and the hub's own files beside them."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast, ViTConfig, ViTModel

SPECIAL = ["<pad>", "<|startoftext|>", "<|endoftext|>", "<unk>"]
WORDS = [*SPECIAL, "a", "dog", "cat", "runs", "in", "the", "snow", "red", "on", "grass"]


def save_clip(folder: Path, seed: int = 0) -> CLIPModel:
    """Write a CLIP of 32 px pictures, 8 px patches and 16 numbers, as openai's folders are; return it."""
    torch.manual_seed(seed)
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**shared, "vocab_size": len(WORDS), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    vision = {**shared, "image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).eval()
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<|startoftext|>", 1), ("<|endoftext|>", 2)]
    words.post_processor = processors.TemplateProcessing(single="<|startoftext|> $A <|endoftext|>", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<|endoftext|>", model_max_length=77
    ).save_pretrained(folder)
    mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    preparation = {"size": 32, "crop_size": 32, "resample": 3, "do_resize": True, "do_center_crop": True}
    preparation |= {"do_normalize": True, "image_mean": mean, "image_std": deviation}
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    return model


def save_dino(folder: Path, seed: int = 0) -> ViTModel:
    """Write a ViT of 224 px pictures and 32 px patches, as facebook's DINO folders are; return it."""
    torch.manual_seed(seed)
    config = ViTConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, patch_size=32)
    model = ViTModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")
    return model
