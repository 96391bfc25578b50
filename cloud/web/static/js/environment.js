// The course of one point: a value holds until the next reading, a gap is a device that could not be read.
const box = document.querySelector("[data-course]");

async function draw() {
  const answer = await fetch(box.dataset.course, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const course = await answer.json();
  const style = getComputedStyle(document.documentElement);
  const colour = style.getPropertyValue("--xl-brand").trim() || "#0b6e5f";
  const chart = window.echarts.init(box, null, { renderer: "svg" });
  chart.setOption({
    animation: false,
    useUTC: true, // the server gives the hospital's wall clock
    grid: { left: 56, right: 16, top: 24, bottom: 32 },
    tooltip: { trigger: "axis", renderMode: "richText" },
    xAxis: { type: "time", min: course.since, max: course.now },
    yAxis: { type: "value", scale: true, name: course.unit },
    series: [
      { type: "line", step: "end", showSymbol: false, connectNulls: false, data: course.values, color: colour },
    ],
  });
  new ResizeObserver(() => chart.resize()).observe(box);
}

if (box) draw();
