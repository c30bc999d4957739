// A dashboard whose panels are typed down to the options of their plugins: @grafana/schema leaves those open.
import type * as statetimeline from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as timeseries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type * as raw from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
// From Grafana 11 on the queries of Prometheus are typed in a package under the AGPL.
import type { PrometheusDataQuery } from 'grafana-schema-10/dist/esm/raw/composable/prometheus/dataquery/x/PrometheusDataQuery_types.gen';

interface Field<Custom> extends Omit<raw.FieldConfig, 'custom'> {
  custom?: Partial<Custom>;
}

interface Fields<Custom> extends Omit<raw.FieldConfigSource, 'defaults'> {
  defaults: Field<Custom>;
}

interface Query extends Omit<PrometheusDataQuery, 'datasource'> {
  datasource?: raw.DataSourceRef;
}

// Partial: what a dashboard leaves out, the plugin's defaults fill in.
interface Drawn<Type, Options, Custom> extends Omit<raw.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: Type;
  options?: Partial<Options>;
  fieldConfig?: Fields<Custom>;
  targets?: Query[];
}

type Stat = Drawn<'stat', stat.Options, {}>;
type StateTimeline = Drawn<'state-timeline', statetimeline.Options, statetimeline.FieldConfig>;
type Table = Drawn<'table', table.Options, table.FieldConfig>;
type TimeSeries = Drawn<'timeseries', timeseries.Options, timeseries.FieldConfig>;

/** @discriminator type */
type Inner = Stat | StateTimeline | Table | TimeSeries;

interface Row extends Omit<raw.RowPanel, 'panels'> {
  panels: Inner[];
}

/** @discriminator type */
type Outer = Stat | StateTimeline | Table | TimeSeries | Row;

interface Note extends Omit<raw.AnnotationQuery, 'target'> {
  target?: Query;
  // Read by the Prometheus data source; in no type of @grafana/schema.
  titleFormat?: string;
}

export interface Board extends Omit<raw.Dashboard, 'panels' | 'annotations'> {
  panels: Outer[];
  annotations?: { list?: Note[] };
}
