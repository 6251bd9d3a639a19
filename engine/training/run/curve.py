"""The losses of a run as one SVG, written by hand so that no drawing library is needed."""

import math
from collections.abc import Sequence

MOST = 1_000
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 360, 56, 32
Point = tuple[float, float]


class Curve:
    """Losses by step in constant memory: where there are too many, neighbours become their mean."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.held_out: list[Point] = []
        self._run = 1
        self._open: list[Point] = []

    def add(self, step: int, loss: float) -> None:
        """The loss of a step."""
        self._open.append((step, loss))
        if len(self._open) < self._run:
            return
        self.points.append(_mean(self._open))
        self._open = []
        if len(self.points) >= MOST:
            self.points = _halved(self.points)
            self._run *= 2

    def add_held_out(self, step: int, loss: float | None) -> None:
        """The loss over held-out texts."""
        if loss is not None:
            self.held_out.append((step, loss))
        if len(self.held_out) >= MOST:
            self.held_out = _halved(self.held_out)

    def svg(self) -> str:
        """Both curves with their axes."""
        seen = [p for p in (*self.points, *self.held_out) if math.isfinite(p[1])]
        if not seen:
            seen = [(0.0, 0.0)]
        low, high = min(y for _, y in seen), max(y for _, y in seen)
        last = max(x for x, _ in seen)

        def place(point: Point) -> str:
            across = LEFT + (WIDTH - LEFT - 12) * point[0] / max(last, 1)
            up = (HEIGHT - BOTTOM - 12) * (point[1] - low) / max(high - low, 1e-9)
            return f"{across:.1f},{HEIGHT - BOTTOM - up:.1f}"

        def line(points: Sequence[Point], color: str) -> str:
            places = " ".join(place(point) for point in points if math.isfinite(point[1]))
            return f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="1.5"/>'

        foot, axis = HEIGHT - BOTTOM, '<path fill="none" stroke="#888" d="{}"/>'
        texts = [
            (LEFT - 6, 16, "end", f"{high:.3g}"),
            (LEFT - 6, foot, "end", f"{low:.3g}"),
            (LEFT, HEIGHT - 12, "start", "0"),
            (WIDTH - 12, HEIGHT - 12, "end", f"step {last:,.0f}"),
            (WIDTH - 12, 16, "end", "loss: training blue, held out orange"),
        ]
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            axis.format(f"M{LEFT},8 V{foot} H{WIDTH - 8}"),
            line(self.points, "#1f77b4"),
            line(self.held_out, "#ff7f0e"),
            *(
                f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'
                for x, y, anchor, text in texts
            ),
            "</svg>\n",
        ]
        return "\n".join(parts)


def _mean(points: Sequence[Point]) -> Point:
    return points[-1][0], sum(loss for _, loss in points) / len(points)


def _halved(points: Sequence[Point]) -> list[Point]:
    return [_mean(points[start : start + 2]) for start in range(0, len(points), 2)]
