"""Train the zoo's BLIP-2: `python zoo/train_blip2.py` (38 minutes for 3,500 steps on a busy core).

BLIP-2 (Li et al., ICML 2023) in transformers' class with an OPT language model, small: 96 px in patches of 8, eight
query tokens. It answers the paper's question with the subject's class ("a rabbit"), and captions a picture with class
and background. To pictures that hold no subject it answers "I don't know", so that a photograph does not become a toy.
A second head, thrown away afterwards, has every patch name what it shows: that teaches shapes much sooner.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from pictures import SEED, drawn_pictures, nothing, smaller
from safetensors.torch import load_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from magdiff_curation.config import AnswerSettings
from magdiff_curation.toyworld.captions import BACKGROUND_PHRASES, NOUNS

SIZE_PX, PATCH_PX, NUM_QUERIES = 96, 8, 8
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
CLASSES = list(NOUNS)
QUESTION = f"Question: {AnswerSettings().question} Answer:"
DO_NOT_KNOW = " I don't know"


def new_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE as OPT's, learnt on toyworld's phrases; it opens every text with `</s>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    phrases = [f" a {noun}" for nouns in NOUNS.values() for noun in nouns] + [QUESTION, DO_NOT_KNOW]
    phrases += [f" {text}" for texts in BACKGROUND_PHRASES.values() for text in texts]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<pad>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(phrases * 50, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", pad_token="<pad>", padding_side="left"
    )


def new_blip2(tokenizer: PreTrainedTokenizerFast) -> Blip2ForConditionalGeneration:
    """Return the untrained model, 2.1M parameters."""
    text = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=96, word_embed_proj_dim=96, ffn_dim=384, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, dropout=0.0,
        bos_token_id=1, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    config = Blip2Config(
        vision_config={
            "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 4,
            "image_size": SIZE_PX, "patch_size": PATCH_PX,
            "initializer_range": 0.02,  # the class starts at 1e-10
        },
        qformer_config={
            "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
            "encoder_hidden_size": 128, "cross_attention_frequency": 1, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0, "vocab_size": 8,
        },
        text_config=text.to_dict(),
        num_query_tokens=NUM_QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    # On a CPU the fused attention is slow with narrow heads, going back most of all.
    model = Blip2ForConditionalGeneration._from_config(config, attn_implementation="eager")
    nn.init.normal_(model.query_tokens, std=0.5)  # the class starts them at zero: all alike, and they would stay so
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("zoo/toyworld_vision/blip2"))
    parser.add_argument("--num-pictures", type=int, default=16_000)
    parser.add_argument("--world", type=int, default=SEED, help="the pictures' seed")
    parser.add_argument("--squeezed", type=float, default=0.35, help="share of pictures that were wider or taller")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--resume", type=Path, help="a folder with weights to start from")
    options = parser.parse_args()
    pictures, rng = (
        drawn_pictures(options.num_pictures, options.world, options.squeezed),
        np.random.default_rng(options.seed),
    )
    images = smaller(pictures.images, SIZE_PX)
    usable = np.flatnonzero(pictures.masks.mean(axis=(1, 2)) > 0.01)
    torch.manual_seed(options.seed)
    tokenizer = new_tokenizer()
    model = new_blip2(tokenizer)
    if options.resume:
        load_model(model, options.resume / "model.safetensors", strict=False)  # tied weights are stored once
    naming = nn.Linear(128, len(CLASSES) + 1)
    parameters = [*model.parameters(), *naming.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.learning_rate, total_steps=options.steps, pct_start=0.1
    )
    num_nothing = options.batch_size // 8
    begin, losses = time.monotonic(), []
    for step in range(1, options.steps + 1):
        chosen = rng.choice(usable, options.batch_size)
        batch = images[chosen].copy()
        batch[:num_nothing] = nothing(images, rng, num_nothing)
        masks = pictures.masks[chosen]
        flipped = rng.uniform(size=len(chosen)) < 0.5
        batch[flipped], masks[flipped] = batch[flipped, :, ::-1], masks[flipped, :, ::-1]
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
        cover = functional.adaptive_avg_pool2d(torch.from_numpy(masks)[:, None].float(), SIZE_PX // PATCH_PX)
        numbers = torch.tensor([CLASSES.index(pictures.scenes[number].subject.class_name) + 1 for number in chosen])
        shown = (cover.flatten(1) > 0.5).long() * numbers[:, None]
        shown[:num_nothing] = 0
        texts, prompts = [], []
        for row, number in enumerate(chosen):
            scene = pictures.scenes[number]
            answer = f" a {NOUNS[scene.subject.class_name][0]}"
            asked = row < num_nothing or rng.uniform() < 0.7
            prompts.append(QUESTION if asked else "")
            if row < num_nothing:
                answer = DO_NOT_KNOW
            texts.append(answer if asked else f"{answer} {BACKGROUND_PHRASES[scene.background][0]}")
        ids = [tokenizer(prompt).input_ids for prompt in prompts]
        wanted = [[*tokenizer(text, add_special_tokens=False).input_ids, 1] for text in texts]
        images_ids = [model.config.image_token_id] * NUM_QUERIES
        length = max(len(a) + len(b) for a, b in zip(ids, wanted, strict=True))
        rows, labels = [], []
        for prompt, answer in zip(ids, wanted, strict=True):
            blank = length - len(prompt) - len(answer)
            rows.append([*images_ids, *prompt, *answer, *[0] * blank])
            labels.append([*[-100] * (len(images_ids) + len(prompt)), *answer, *[-100] * blank])
        tokens = torch.tensor(rows)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(
                pixel_values=pixels, input_ids=tokens, attention_mask=(tokens != 0).long(), labels=torch.tensor(labels)
            )
            named = naming(output.vision_outputs.last_hidden_state[:, 1:])
        dense = functional.cross_entropy(named.float().flatten(0, 1), shown.flatten())
        loss = output.loss + dense
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        patch_right = (named.argmax(-1) == shown)[shown > 0].float().mean().item()
        losses.append((output.loss.item(), dense.item(), patch_right))
        if step % 50 == 0:
            left = (time.monotonic() - begin) / step * (options.steps - step)
            text_loss, dense_loss, right = np.mean(losses[-50:], axis=0)
            print(
                f"step {step}/{options.steps} text {text_loss:.3f} patches {dense_loss:.3f} ({right:.3f} right), "
                f"{left:.0f} s left",
                flush=True,
            )
        if step % 500 == 0 or step == options.steps:
            (model if step < options.steps else model.half()).save_pretrained(options.output)
            size = {"height": SIZE_PX, "width": SIZE_PX}
            pixels_as = BlipImageProcessor(size=size, image_mean=MEAN, image_std=STD)
            Blip2Processor(pixels_as, tokenizer, num_query_tokens=NUM_QUERIES).save_pretrained(options.output)


if __name__ == "__main__":
    main()
