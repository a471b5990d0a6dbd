"""A float32 model in a narrower type of floating-point numbers: float16 or bfloat16."""
