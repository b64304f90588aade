"""Growth plots as SVG, without a plotting library: lines over two logarithmic axes."""
import math

COLOURS = ["#1b6ca8", "#c1443c", "#3f8f4f", "#8a5aa8", "#b07d2b"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 300, 64, 36, 34, 46


def panel(title, x_name, y_name, series, left):
    """One plot at `left`; `series` maps a name to its points (x, y), all above 0."""
    points = [point for line in series.values() for point in line]
    low = [math.floor(math.log10(min(p[i] for p in points))) for i in (0, 1)]
    high = [max(low[i] + 1, math.ceil(math.log10(max(p[i] for p in points)))) for i in (0, 1)]

    def place(x, y):
        across = (math.log10(x) - low[0]) / (high[0] - low[0])
        up = (math.log10(y) - low[1]) / (high[1] - low[1])
        return left + LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    out = [f'<text x="{left + WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">{title}</text>']
    for power in range(low[0], high[0] + 1):
        x, y = place(10 ** power, 10 ** low[1])
        out.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{y}" stroke="#ddd"/>'
                   f'<text x="{x}" y="{y + 16}" text-anchor="middle">{10 ** power:,}</text>')
    for power in range(low[1], high[1] + 1):
        x, y = place(10 ** low[0], 10 ** power)
        out.append(f'<line x1="{x}" x2="{left + WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>'
                   f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{10 ** power:,.6g}</text>')
    out.append(f'<text x="{left + WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{x_name}</text>'
               f'<text x="{left + 12}" y="{HEIGHT / 2}" text-anchor="middle" '
               f'transform="rotate(-90 {left + 12} {HEIGHT / 2})">{y_name}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in (place(*p) for p in line))
        out.append(f'<text x="{left + LEFT + 10}" y="{TOP + 16 + 15 * number}" fill="{colour}">{name}</text>')
    return "\n".join(out)


def write(path, panels):
    """`panels`: (title, name of x, name of y, series) each, side by side."""
    body = "\n".join(panel(*one, left) for left, one in zip(range(0, WIDTH * len(panels), WIDTH), panels))
    with open(path, "w") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(panels)}" height="{HEIGHT}" '
                  f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')
