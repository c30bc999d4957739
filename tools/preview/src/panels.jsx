// One component a kind of panel; all but the state timeline are Grafana's own.
import { BigValue, Table, TimeSeries, VizLegend } from '@grafana/ui';
import { dateTime } from '@grafana/data';
import { useEffect, useState } from 'react';
import { lastValues, seriesFrames, tableFrame } from './frames';

export function Stat({ panel, results, theme, width, height }) {
  const { colorMode, graphMode, textMode } = panel.options;
  const values = lastValues(panel, results, theme);
  return values.map((value) => (
    <BigValue
      key={value.title}
      value={value}
      count={values.length}
      width={width / values.length}
      height={height}
      theme={theme}
      colorMode={colorMode}
      graphMode={graphMode}
      justifyMode="auto"
      textMode={textMode === 'auto' || !textMode ? 'value' : textMode}
    />
  ));
}

export function Series({ panel, results, theme, width, height, range, notes }) {
  const frames = seriesFrames(panel, results, theme);
  const timeRange = { from: dateTime(range.from * 1000), to: dateTime(range.to * 1000), raw: range };
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };
  return (
    <TimeSeries frames={frames} width={width} height={height} timeRange={timeRange} timeZone="utc" legend={legend}>
      {(builder) => {
        builder.addHook('draw', (plot) => notes.forEach((note) => mark(plot, note, theme)));
        return null;
      }}
    </TimeSeries>
  );
}

function mark(plot, note, theme) {
  const x = plot.valToPos(note.time * 1000, 'x', true);
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = theme.visualization.getColorByName(note.color);
  ctx.setLineDash([4, 4]);
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

export function Rows({ panel, results, theme, width, height }) {
  const [frame, setFrame] = useState(null);
  useEffect(() => void tableFrame(panel, results, theme).then(setFrame), []);
  return frame && <Table data={frame} width={width} height={height} initialSortBy={panel.options?.sortBy} />;
}

// A stand-in: @grafana/ui has no state timeline.
export function States({ panel, results, theme, width, height, range }) {
  const frames = seriesFrames(panel, results, theme);
  const across = (time) => (100 * (time / 1000 - range.from)) / (range.to - range.from);
  const line = Math.min(36, (height - 56) / Math.max(frames.length, 1));
  const words = new Map();
  const bands = frames.map((frame) => {
    const [times, states] = frame.fields;
    const found = states.values.map((value, place) => {
      if (value === null) {
        return null;
      }
      const { text, color } = states.display(value);
      words.set(text, color);
      const left = across(times.values[place]);
      return <i key={place} style={{ position: 'absolute', left: `${left}%`, width: `${100 / times.values.length + 0.05}%`, top: 2, bottom: 2, background: color }} />;
    });
    return (
      <div key={states.config.displayNameFromDS} style={{ display: 'flex', height: line, alignItems: 'center' }}>
        <span style={{ width: 210, flex: 'none', fontSize: Math.min(12, line - 2), textAlign: 'right', paddingRight: 8, overflow: 'hidden', whiteSpace: 'nowrap' }}>{states.config.displayNameFromDS}</span>
        <span style={{ position: 'relative', flex: 1, height: '100%' }}>{found}</span>
      </div>
    );
  });
  const days = [0, 0.25, 0.5, 0.75, 1].map((share) => new Date((range.from + share * (range.to - range.from)) * 1000).toISOString().slice(5, 10));
  const items = [...words].map(([label, color]) => ({ label, color, yAxis: 1 }));
  return (
    <div style={{ width, height }}>
      {bands}
      <div style={{ display: 'flex', justifyContent: 'space-between', marginLeft: 210, fontSize: 12 }}>{days.map((day) => <span key={day}>{day}</span>)}</div>
      <VizLegend items={items} displayMode="list" placement="bottom" />
    </div>
  );
}
