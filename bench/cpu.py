"""What a tree of processes has used, from Linux's /proc and CPU clocks."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcStat", "Sample", "busy", "cores", "descriptors", "parse_stat", "pinned", "resident", "sample", "tree"]

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class ProcStat:
    """The fields of /proc/PID/stat that matter here; times in clock ticks."""

    pid: int
    parent: int
    own_ticks: int
    reaped_ticks: int
    """Of children that have ended and been waited for."""
    pages: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What a tree had used at one moment."""

    cpu_seconds: float
    rss_bytes: int


def parse_stat(text: str) -> ProcStat:
    """Reads one /proc/PID/stat; the command in parentheses may hold blanks and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    utime, stime, cutime, cstime = (int(field) for field in fields[11:15])
    return ProcStat(int(pid), int(fields[1]), utime + stime, cutime + cstime, int(fields[21]))


def tree(root: int) -> list[ProcStat]:
    """`root` and all that descend from it."""
    children: dict[int, list[ProcStat]] = {}
    found: list[ProcStat] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = parse_stat((entry / "stat").read_text(encoding="utf-8", errors="replace"))
                children.setdefault(stat.parent, []).append(stat)
                if stat.pid == root:
                    found.append(stat)
    for stat in found:
        found.extend(children.get(stat.pid, ()))
    return found


def _cpu_seconds(stat: ProcStat) -> float:
    """The kernel's nanosecond clock of that process where it lets us read it, its ticks elsewhere."""
    try:
        own = time.clock_gettime((~stat.pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        own = stat.own_ticks / _TICK
    return own + stat.reaped_ticks / _TICK


def sample(root: int) -> Sample:
    stats = tree(root)
    cpu = sum(_cpu_seconds(stat) for stat in stats)
    return Sample(cpu, sum(stat.pages for stat in stats) * _PAGE)


def busy() -> float:
    """Seconds for which the cores of this machine have worked since it started, whoever for."""
    with Path("/proc/stat").open(encoding="ascii") as stat:
        user, nice, system, _, _, irq, softirq, steal, *_ = (int(field) for field in stat.readline().split()[1:])
    return (user + nice + system + irq + softirq + steal) / _TICK


def resident(root: int) -> int:
    """Bytes that the tree holds in memory now."""
    return sum(stat.pages for stat in tree(root)) * _PAGE


def descriptors(root: int) -> int:
    """Open file descriptors of the tree."""
    count = 0
    for stat in tree(root):
        with contextlib.suppress(OSError):
            count += sum(1 for _ in Path(f"/proc/{stat.pid}/fd").iterdir())
    return count


def cores() -> tuple[set[int], set[int]]:
    """One core for the server under test, the others for what drives it; with a single core, both share it."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, set(available[1:2]) or {available[0]}


@contextlib.contextmanager
def pinned(to: set[int]) -> Iterator[None]:
    """Processes started inside inherit these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
