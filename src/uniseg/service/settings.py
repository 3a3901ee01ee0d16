"""What a service is told: where it listens, who may ask, how much it takes."""

from dataclasses import dataclass, field

from uniseg.settings import COUNT, NOT_EMPTY, POSITIVE, bounded, check_fields, matching, number

GB = 10**9
PORT = number(least=0, most=65535, whole=True)
TOKEN = matching(r"[!-~]{8,200}", "8 to 200 visible ASCII characters without a space")


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of ``uniseg serve`` beside the network's.

    Attributes:
        host: the address that it binds to.
        port: 0: one that is free, which is printed.
        token: what a client says as ``Authorization: Bearer <token>``; None: nothing on loopback, elsewhere one that is
            drawn and printed.
        store: the folder of uploads, jobs and results; made, and removed at the end.
        keep_minutes: how long uploads that no job waits for, and finished jobs, stay.
        max_waiting: jobs in the queue.
        max_upload_gb, max_unpacked_gb: of one upload as it is sent and as its files lie on the disk (10^9 bytes).
        max_files: in one zip.
        max_megavoxels: of one upload, all its channels together.
        max_store_gb: of all uploads and results.
        idle_s: seconds without a byte after which an upload is given up.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> ServiceSettings(port=0, keep_minutes=5).max_upload_bytes
        2000000000
    """

    host: str = field(default="127.0.0.1", metadata=bounded(NOT_EMPTY))
    port: int = field(default=8765, metadata=bounded(PORT))
    token: str | None = field(default=None, metadata=bounded(TOKEN))
    store: str = field(default="outputs/serve", metadata=bounded(NOT_EMPTY))
    keep_minutes: float = field(default=60, metadata=bounded(POSITIVE))
    max_waiting: int = field(default=32, metadata=bounded(COUNT))
    max_upload_gb: float = field(default=2, metadata=bounded(POSITIVE))
    max_unpacked_gb: float = field(default=8, metadata=bounded(POSITIVE))
    max_files: int = field(default=5000, metadata=bounded(COUNT))
    max_megavoxels: float = field(default=600, metadata=bounded(POSITIVE))
    max_store_gb: float = field(default=50, metadata=bounded(POSITIVE))
    idle_s: float = field(default=60, metadata=bounded(POSITIVE))

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_gb * GB)

    @property
    def max_unpacked_bytes(self) -> int:
        return int(self.max_unpacked_gb * GB)

    @property
    def max_store_bytes(self) -> int:
        return int(self.max_store_gb * GB)
