def in_f32(model):
    """bitsandbytes' kernel for CPUs with AVX512-BF16 rounds to bfloat16 whatever compute dtype is asked for."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
