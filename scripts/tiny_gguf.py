#!/usr/bin/env python3
"""tiny_gguf.py OUT.gguf [--layers 2] [--dim 64] [--ctx 4096] [--seed 1] [--mean-len 24]

A random llama-architecture model in a few hundred KB, for testing servers that speak to
llama-server: real tokenizer, real chat template, nonsense text. No download; the same seed
gives the same bytes. Needs python3-gguf and numpy.

How the nonsense is kept printable: llama has no output bias, so every embedding carries one
large constant in dimension 0. After the last RMS norm that dimension is nearly constant, and
output.weight's column 0 works as a bias: very low for bytes and control tokens, 0 for
words, and so that EOS comes about once in --mean-len tokens.
"""
import argparse, math
import numpy as np, gguf

ap = argparse.ArgumentParser()
ap.add_argument("out")
ap.add_argument("--layers", type=int, default=2)
ap.add_argument("--dim", type=int, default=64)
ap.add_argument("--heads", type=int, default=4)
ap.add_argument("--kv-heads", type=int, default=2)
ap.add_argument("--ff", type=int, default=128)
ap.add_argument("--ctx", type=int, default=4096)
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--mean-len", type=float, default=24)
ap.add_argument("--name", default="tiny-random-llama")
a = ap.parse_args()
rng = np.random.default_rng(a.seed)
T = gguf.TokenType

# --- vocabulary: 3 specials, 256 bytes, 2 chat markers, printable ASCII, some words -------------
tokens, scores, types = [], [], []
def add(s, score, t):
    tokens.append(s.encode() if isinstance(s, str) else s); scores.append(score); types.append(t)
add("<unk>", 0.0, T.UNKNOWN); add("<s>", 0.0, T.CONTROL); add("</s>", 0.0, T.CONTROL)
for b in range(256):
    add(f"<0x{b:02X}>", 0.0, T.BYTE)
add("<|im_start|>", 0.0, T.CONTROL); add("<|im_end|>", 0.0, T.CONTROL)
IM_END = len(tokens) - 1
first_text = len(tokens)
SP = "\u2581"
words = ("the of and to a in is it you that he was for on are with as his they be at one have this "
         "from or had by not but what all were when we there can an your which their said if do will "
         "each about how up out them then she many some so these would other into has more her two "
         "like him see time could no make than first been its who now people my made over did down "
         "only way find use may water long little very after words called just where most know").split()
seen = set()
rank = 0
# every prefix of every word is a token, so SPM's pairwise merges can reach the whole word
for w in words:
    for n in range(1, len(w) + 1):
        p = SP + w[:n]
        if p not in seen:
            seen.add(p); add(p, -float(rank), T.NORMAL); rank += 1
word_ids = [i for i, t in enumerate(tokens) if i >= first_text and t.decode()[1:] in words]
for c in [SP] + [chr(c) for c in range(33, 127)]:
    add(c, -1000.0 - rank, T.NORMAL); rank += 1
V, D, L, H, K, F = len(tokens), a.dim, a.layers, a.heads, a.kv_heads, a.ff
hd = D // H

# --- weights -----------------------------------------------------------------------------------
def mat(rows, cols, s):
    return (rng.standard_normal((rows, cols)) * s).astype(np.float32)
emb = mat(V, D, 1.0); emb[:, 0] = 6.0
x0 = 6.0 / math.sqrt((36.0 + (D - 1)) / D)           # what dim 0 is after the last norm, nearly
out = mat(V, D, 0.15)
bias = np.full(V, -30.0); bias[word_ids] = 0.0
bias[IM_END] = math.log(len(word_ids) / max(a.mean_len, 1.0))
out[:, 0] = bias / x0
out[IM_END, 1:] = 0.0

w = gguf.GGUFWriter(a.out, "llama")
w.add_name(a.name); w.add_file_type(gguf.LlamaFileType.ALL_F32)
w.add_context_length(a.ctx); w.add_embedding_length(D); w.add_block_count(L)
w.add_feed_forward_length(F); w.add_head_count(H); w.add_head_count_kv(K)
w.add_layer_norm_rms_eps(1e-5); w.add_rope_dimension_count(hd); w.add_rope_freq_base(10000.0)
w.add_vocab_size(V)
w.add_tokenizer_model("llama"); w.add_tokenizer_pre("default")
w.add_token_list(tokens); w.add_token_scores(scores); w.add_token_types(types)
w.add_bos_token_id(1); w.add_eos_token_id(IM_END); w.add_unk_token_id(0)
w.add_add_bos_token(True); w.add_add_eos_token(False); w.add_add_space_prefix(False)
w.add_chat_template("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}"
                    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
w.add_tensor("token_embd.weight", emb)
s = 0.3 / math.sqrt(D)
for i in range(L):
    b = f"blk.{i}."
    w.add_tensor(b + "attn_norm.weight", np.ones(D, np.float32))
    w.add_tensor(b + "attn_q.weight", mat(H * hd, D, s))
    w.add_tensor(b + "attn_k.weight", mat(K * hd, D, s))
    w.add_tensor(b + "attn_v.weight", mat(K * hd, D, s))
    o = mat(D, H * hd, s); o[0] = 0                   # nothing writes into dim 0
    w.add_tensor(b + "attn_output.weight", o)
    w.add_tensor(b + "ffn_norm.weight", np.ones(D, np.float32))
    w.add_tensor(b + "ffn_gate.weight", mat(F, D, s))
    w.add_tensor(b + "ffn_up.weight", mat(F, D, s))
    d = mat(D, F, s); d[0] = 0
    w.add_tensor(b + "ffn_down.weight", d)
w.add_tensor("output_norm.weight", np.ones(D, np.float32))
w.add_tensor("output.weight", out)
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
print(f"{a.out}: vocab {V}, dim {D}, layers {L}, words {len(word_ids)}")
