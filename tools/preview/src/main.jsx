// Draws one dashboard of the chart from what a Prometheus answered to its queries: see tools/preview/__main__.py.
import { createTheme, ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelChrome, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { Rows, Series, Stat, States } from './panels';

const CELL = 30;
const GAP = 8;
const WIDTH = 1500;
const HEAD = 64;
const KINDS = { stat: Stat, timeseries: Series, table: Rows, 'state-timeline': States, statetimeline: States };

function place({ x, y, w, h }) {
  const column = (WIDTH - GAP) / 24;
  return { left: GAP + x * column, top: HEAD + y * (CELL + GAP), width: w * column - GAP, height: h * (CELL + GAP) - GAP };
}

function Panel({ panel, data, theme }) {
  const box = place(panel.gridPos);
  const style = { position: 'absolute', left: box.left, top: box.top };
  if (panel.type === 'row') {
    const count = panel.panels?.length ? ` (${panel.panels.length} panel${panel.panels.length > 1 ? 's' : ''})` : '';
    return <h2 style={{ ...style, fontSize: 16, margin: 0, lineHeight: `${CELL}px` }}>{panel.collapsed ? '› ' : '⌄ '}{panel.title}{count}</h2>;
  }
  const Kind = KINDS[panel.type];
  return (
    <div style={style}>
      <PanelChrome title={panel.title} description={panel.description} width={box.width} height={box.height}>
        {(width, height) => <Kind panel={panel} results={data.results[panel.id]} theme={theme} width={width} height={height} range={data.range} notes={data.notes} />}
      </PanelChrome>
    </div>
  );
}

function Board({ data, theme }) {
  const bottom = Math.max(...data.board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <main style={{ position: 'relative', width: WIDTH, height: HEAD + bottom * (CELL + GAP) + GAP, background: theme.colors.background.canvas, color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily }}>
      <header style={{ padding: '10px 8px 0' }}>
        <b style={{ fontSize: 18 }}>{data.board.title}</b> <span style={{ color: theme.colors.text.secondary }}>{data.chosen}</span>
        <div style={{ color: theme.colors.text.secondary, fontSize: 13 }}>{data.label}</div>
      </header>
      {data.board.panels.map((panel) => <Panel key={panel.id} panel={panel} data={data} theme={theme} />)}
    </main>
  );
}

const data = await (await fetch('data.json')).json();
const theme = createTheme({ colors: { mode: data.theme } });
createRoot(document.getElementById('root')).render(
  <MemoryRouter>
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PortalContainer />
      <Board data={data} theme={theme} />
    </ThemeContext.Provider>
  </MemoryRouter>
);
