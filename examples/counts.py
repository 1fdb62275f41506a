"""A file to try streamcast with: people counted each hour at two places of Melbourne, under column names of its own.

    python -m examples.counts counts.csv

The counts are part of the demo's (© City of Melbourne, CC BY 4.0; see streamcast/app/demo_data).  Their dates are moved
by 520 weeks, from 2016 to 2026.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from rich import print as show

from streamcast.app.demo_data import read_series

PLACES = ("QV Market-Elizabeth St (West)", "Southern Cross Station")
END = pd.Timestamp("2016-09-26", tz="Australia/Melbourne")
WEEKS = 12
MOVED = pd.Timedelta(weeks=520)


def counts() -> pd.DataFrame:
    """Return the counts as a file has them: a place, the local time without a zone, and the number of people."""
    frame = read_series()
    frame = frame[frame["unique_id"].isin(PLACES)]
    times = frame["ds"].dt.tz_convert(END.tz)
    chosen = (times >= END - pd.Timedelta(weeks=WEEKS)) & (times < END)
    return pd.DataFrame(
        {
            "place": frame.loc[chosen, "unique_id"],
            "hour": (times[chosen].dt.tz_localize(None) + MOVED).dt.strftime("%Y-%m-%d %H:%M"),
            "people": frame.loc[chosen, "y"].astype(int),
        }
    )


def main(path: Path) -> None:
    """Write the file."""
    frame = counts()
    frame.to_csv(path, index=False)
    show(f"Wrote {len(frame):,} rows of {frame['place'].nunique()} places to {path}.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "counts.csv"))
