// A line chart of the last minutes on a canvas, sharp on any screen.

/** Draw `values`, one per second up to second `end`, over the whole width of `span` seconds. */
export function spark(canvas, values, span, end) {
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const points = means(values.slice(-span), span, end, Math.max(1, Math.ceil((span * 1.5) / width)));
  const top = points.reduce((most, value) => Math.max(most, value ?? 0), 0) || 1;
  const x = (place) => ((place + 0.5) * width) / points.length;
  const y = (value) => height - 1.5 - (value / top) * (height - 3);
  const shown = points.map((value, place) => [place, value]).filter(([, value]) => value !== null);
  if (!shown.length) return;
  context.beginPath();
  for (const [place, value] of shown) context.lineTo(x(place), y(value));
  context.strokeStyle = context.fillStyle = style.color;
  context.lineWidth = 1.25;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(x(shown.at(-1)[0]), height);
  context.lineTo(x(shown[0][0]), height);
  context.globalAlpha = 0.13;
  context.fill();
  context.globalAlpha = 1;
}

/** Return the mean of each `step` seconds, null for unknown ones. Steps begin at fixed seconds, so that the line does not shimmer. */

function means(values, span, end, step) {
  const columns = Math.ceil(span / step);
  const first = Math.floor(end / step) - columns + 1;
  const sums = new Array(columns).fill(null);
  const counts = new Array(columns).fill(0);
  values.forEach((value, place) => {
    const column = Math.floor((end - values.length + 1 + place) / step) - first;
    if (value === null || column < 0) return;
    sums[column] = (sums[column] ?? 0) + value;
    counts[column] += 1;
  });
  return sums.map((sum, column) => (sum === null ? null : sum / counts[column]));
}
