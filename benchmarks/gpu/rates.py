"""What the card can do: a square matrix product and a copy, on random values."""

from gpu.scale import Scale, arguments, emit, synchronize


def main(scale: Scale) -> None:
    import torch

    device, on_card = scale.device, scale.device == "cuda"
    emit(torch=torch.__version__, card=torch.cuda.get_device_name() if on_card else "processor")
    if on_card:
        free, total = torch.cuda.mem_get_info()
        emit(
            cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version(),
            memory_gb=round(total / 1e9, 1),
            free_gb=round(free / 1e9, 1),
        )
    size, repeats = (256, 3) if scale.tiny else (8192, 20)
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = timed(lambda a=a, b=b: a @ b, repeats, device)
        emit(**{f"product_{name}_tflops": 2 * size**3 / seconds / 1e12})
    source = torch.randn((1 << 18) if scale.tiny else (1 << 29), device=device)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), repeats, device)
    emit(copy_gb_s=2 * source.numel() * source.element_size() / seconds / 1e9)


def timed(work, repeats: int, device: str) -> float:
    """Median seconds of one call; on a card by events."""
    import time
    from statistics import median

    import torch

    for _ in range(3):
        work()
    synchronize(device)
    seconds = []
    for _ in range(repeats):
        if device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            torch.cuda.synchronize()
            seconds.append(begin.elapsed_time(end) / 1e3)
        else:
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return median(seconds)


if __name__ == "__main__":
    main(arguments()[0])
