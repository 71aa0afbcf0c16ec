"""The rows of the paper's Table 3 as settings over any base: what each part is when it is on, and when it is off."""

from collections.abc import Callable
from dataclasses import dataclass

from panet.config import Config
from panet.errors import ConfigError, nearest
from panet.settings import changed

__all__ = ["PARTS", "ROWS", "Part", "Plan", "Row", "choose_rows", "row_config"]


@dataclass(frozen=True)
class Part:
    """One idea or measure of the paper.

    Args:
        on: base -> assignments that switch it on; they give the base's own settings where it has the part.
        off: base -> assignments that switch it off.
        missing: base -> why the base has no such part; empty if it has.
    """

    on: Callable[[Config], tuple[str, ...]]
    off: Callable[[Config], tuple[str, ...]]
    missing: Callable[[Config], str] = lambda base: ""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        label: as the table shows it.
        parts: what is on, of PARTS; all others are off.
        before: the row that it adds something to; empty: none.
    """

    label: str
    parts: tuple[str, ...]
    before: str = ""


@dataclass(frozen=True)
class Plan:
    """Rows to run.

    Args:
        rows: name -> row; `before` is one of them, or empty.
        notes: which rows were left out, and why.
    """

    rows: dict[str, Row]
    notes: tuple[str, ...]


def _one_scale(base: Config) -> tuple[str, ...]:
    jitter = ("data.scale_jitter=[1.0, 1.0]",) if base.data.scale_jitter else ()
    sides = (f"data.short_sides=[{base.model.short_side}]",) if len(set(base.data.short_sides)) > 1 else ()
    return jitter + sides


def _no_scales(base: Config) -> str:
    """Say whether pictures come in one size anyway: a crop without jitter does not resize them."""
    jitter, crop = base.data.scale_jitter, base.data.crop
    jitters = jitter is not None and jitter[0] < jitter[1]
    draws = len(set(base.data.short_sides)) > 1 and (crop is None or jitter is not None)
    return "" if jitters or draws else "the base trains at one scale: see data.short_sides"


def _own_head(base: Config) -> tuple[str, ...]:
    """Give the heavier head: as wide as the neck, as in the paper, unless the base has such a head of its own."""
    if base.model.box_head.kind == "4conv1fc":
        return ("model.box_head.kind=4conv1fc",)
    return ("model.box_head.kind=4conv1fc", f"model.box_head.conv_channels={base.model.neck.channels}")


PARTS: dict[str, Part] = {
    "mst": Part(on=lambda base: (), off=_one_scale, missing=_no_scales),
    "norm": Part(
        on=lambda base: (f"model.norm={'group' if base.model.norm == 'none' else base.model.norm}",),
        off=lambda base: ("model.norm=none", "model.neck.norm=same"),
    ),
    "bpa": Part(on=lambda base: ("model.neck.bottom_up=true",), off=lambda base: ("model.neck.bottom_up=false",)),
    "afp": Part(on=lambda base: ("model.pooling.levels=all",), off=lambda base: ("model.pooling.levels=assigned",)),
    "ff": Part(
        on=lambda base: ("model.mask_head.fc_path=true",),
        off=lambda base: ("model.mask_head.fc_path=false",) if base.model.mask_head is not None else (),
        missing=lambda base: "" if base.model.mask_head is not None else "the base has no mask head",
    ),
    "heavy": Part(on=_own_head, off=lambda base: ("model.box_head.kind=2fc",)),
}

_BOTH = ("mst", "norm", "bpa", "afp")

ROWS: dict[str, Row] = {
    "baseline": Row("baseline", ()),
    "mst": Row("+ MST (multi-scale training)", ("mst",), "baseline"),
    "norm": Row("+ norm", ("mst", "norm"), "mst"),
    "bpa": Row("+ BPA (bottom-up path)", ("mst", "norm", "bpa"), "norm"),
    "afp": Row("+ AFP (adaptive pooling), no BPA", ("mst", "norm", "afp"), "norm"),
    "bpa_afp": Row("+ BPA + AFP", _BOTH, "norm"),
    "ff": Row("+ FF (fc fusion)", (*_BOTH, "ff"), "bpa_afp"),
    "panet": Row("+ heavier head = PANet", (*_BOTH, "ff", "heavy"), "ff"),
    # Not in the paper: each part with all others off. (MST alone is the second row.)
    "only_norm": Row("norm alone", ("norm",), "baseline"),
    "only_bpa": Row("BPA alone", ("bpa",), "baseline"),
    "only_afp": Row("AFP alone", ("afp",), "baseline"),
    "only_ff": Row("FF alone", ("ff",), "baseline"),
    "only_heavy": Row("heavier head alone", ("heavy",), "baseline"),
}

_TABLE_3 = tuple(name for name in ROWS if not name.startswith("only_"))


def choose_rows(base: Config, names: str | None) -> Plan:
    """Give the rows that are asked for, in the order of ROWS, without those that the base cannot have.

    Args:
        base: the settings with all that it has.
        names: "baseline,bpa"; "all"; None: the paper's Table 3.

    Raises:
        ConfigError: there is no row of a name, or nothing is left.
    """
    missing = {part: why for part in PARTS if (why := PARTS[part].missing(base))}
    wanted = _read_names(names)
    rows: dict[str, Row] = {}
    notes = []
    seen: dict[frozenset[str], str] = {}
    for name in (name for name in ROWS if name in wanted):
        added = _added(name)
        parts = frozenset(part for part in ROWS[name].parts if part not in missing)
        if added in missing:
            notes.append(f"left out: {ROWS[name].label}: {missing[added]}")
        elif parts in seen:
            notes.append(f"left out: {ROWS[name].label}: the same as {seen[parts]}")
        else:
            rows[name], seen[parts] = ROWS[name], ROWS[name].label
    if not rows:
        raise ConfigError(f"--rows {names}: nothing is left to run: {'; '.join(notes) or 'name at least one'}")
    plain = {name: Row(row.label, row.parts, _nearest_before(row.before, rows)) for name, row in rows.items()}
    return Plan(plain, tuple(notes))


def _read_names(names: str | None) -> tuple[str, ...]:
    if names is None:
        return _TABLE_3
    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in wanted:
        if name not in (*ROWS, "all"):
            raise ConfigError(f"--rows {name}: unknown{nearest(name, ROWS)}: choose from {', '.join(ROWS)}, or all")
    return tuple(ROWS) if "all" in wanted else wanted


def _added(name: str) -> str:
    """Name the one part that a row adds to the row before it; empty for the baseline and for several."""
    row = ROWS[name]
    new = [part for part in row.parts if not row.before or part not in ROWS[row.before].parts]
    return new[0] if len(new) == 1 else ""


def _nearest_before(name: str, chosen: dict[str, Row]) -> str:
    while name and name not in chosen:
        name = ROWS[name].before
    return name


def row_config(base: Config, row: Row, seed: int) -> Config:
    """Give the settings of one run: the base's, but for the parts and the seed.

    Raises:
        ConfigError: the base does not bear it.
    """
    present = {name: part for name, part in PARTS.items() if not part.missing(base)}
    assignments = [
        text for name, part in present.items() for text in (part.on if name in row.parts else part.off)(base)
    ]
    return changed(base, [*assignments, f"train.seed={seed}", "train.patience=none"])
