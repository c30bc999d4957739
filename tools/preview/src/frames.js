// What Prometheus answered → Grafana's data frames, as its own data source makes them.
import { FieldType, getDisplayProcessor, getFieldDisplayName, standardTransformers, standardTransformersRegistry, toDataFrame, transformDataFrame } from '@grafana/data';
import { firstValueFrom } from 'rxjs';

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    description: '',
    transformation: async () => transformation,
  }))
);

const CUSTOM = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  showPoints: 'auto',
  pointSize: 5,
  spanNulls: false,
  axisPlacement: 'auto',
  axisLabel: '',
  scaleDistribution: { type: 'linear' },
  hideFrom: { legend: false, tooltip: false, viz: false },
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
};

function legendOf(target, labels) {
  return (target.legendFormat || '').replace(/{{\s*(\w+)\s*}}/g, (_, name) => labels[name] ?? '') || labels.__name__ || '';
}

// Give a field the panel's configuration and what is needed to show its values.
function dress(field, panel, theme, seriesIndex) {
  const defaults = panel.fieldConfig.defaults;
  field.config = {
    color: { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' },
    ...defaults,
    ...field.config,
    custom: { ...CUSTOM, ...defaults.custom },
  };
  const name = field.config.displayName ?? field.config.displayNameFromDS ?? field.name;
  for (const override of panel.fieldConfig.overrides ?? []) {
    if (override.matcher.options === name) {
      override.properties.forEach(({ id, value }) => set(field.config, id.replace('custom.', 'custom/').split('/'), value));
    }
  }
  field.state = { ...field.state, seriesIndex };
  field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
}

function set(target, [key, ...rest], value) {
  if (rest.length) {
    target[key] = { ...target[key] };
    set(target[key], rest, value);
  } else {
    target[key] = value;
  }
}

// One frame a series, with a null wherever Prometheus had nothing.
export function seriesFrames(panel, results, theme) {
  const frames = [];
  for (const target of panel.targets) {
    for (const series of results[target.refId]) {
      const values = new Map((series.values ?? [series.value]).map(([time, value]) => [time * 1000, Number(value)]));
      const times = target.instant ? [...values.keys()] : results.times.map((time) => time * 1000);
      const frame = toDataFrame({
        refId: target.refId,
        fields: [
          { name: 'Time', type: FieldType.time, values: times, config: { interval: results.step * 1000 } },
          {
            name: 'Value',
            type: FieldType.number,
            labels: series.metric,
            values: times.map((time) => values.get(time) ?? null),
            config: { displayNameFromDS: legendOf(target, series.metric) },
          },
        ],
      });
      dress(frame.fields[1], panel, theme, frames.length);
      frames.push(frame);
    }
  }
  frames.forEach((frame) => frame.fields.forEach((field) => getFieldDisplayName(field, frame, frames)));
  return frames;
}

// The last value of every series, with its name.
export function lastValues(panel, results, theme) {
  return seriesFrames(panel, results, theme).map((frame) => {
    const [, field] = frame.fields;
    const last = field.values.filter((value) => value !== null).at(-1);
    const title = getFieldDisplayName(field, frame);
    return { ...field.display(last), title };
  });
}

// The panel's one table, after the panel's own transformations.
export async function tableFrame(panel, results, theme) {
  const many = panel.targets.length > 1;
  const frames = panel.targets.map((target) => {
    const rows = results[target.refId];
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))];
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: rows.map((row) => row.value[0] * 1000) },
        ...names.map((name) => ({ name, type: FieldType.string, values: rows.map((row) => row.metric[name] ?? '') })),
        {
          name: many ? `Value #${target.refId}` : 'Value',
          type: FieldType.number,
          values: rows.map((row) => Number(row.value[1])),
        },
      ],
    });
  });
  const [frame] = await firstValueFrom(transformDataFrame(panel.transformations, frames));
  frame.fields.forEach((field, place) => dress(field, panel, theme, place));
  return frame;
}
