// Load for the prediction API: single rows, labels and batches of iris flowers, an outlier now and then.
//
//   k6 run -e API=http://127.0.0.1:8000 -e RATE=50 -e DURATION=10s kustomize/components/client/load.js
//
//   API       where the server is                                     http://api:8000
//   RATE      requests a second; never more, however fast it answers  10
//   DURATION  of one round, at whose end k6 writes its summary        15m
//   OUTLIERS  share of rows that are no flower                        0.02
//
// Another model needs other rows: replace FLOWERS and OUTLIER, setup() compares their width with the model's.
import http from 'k6/http';
import exec from 'k6/execution';
import { check, sleep } from 'k6';

const API = __ENV.API || 'http://api:8000';
const RATE = Math.round(number('RATE', 10, 1, 5000));
const OUTLIER_SHARE = number('OUTLIERS', 0.02, 0, 1);
const BATCH_ROWS = 8;

// Sepal length and width, petal length and width in cm: a typical setosa, versicolor and virginica.
const FLOWERS = [[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0]];
const OUTLIER = [9.5, 0.8, 0.4, 4.2];

export const options = {
  scenarios: {
    load: {
      executor: 'constant-arrival-rate', // the rate stays what was asked for: a slow server is seen, not spared
      rate: RATE,
      timeUnit: '1s',
      duration: __ENV.DURATION || '15m',
      preAllocatedVUs: Math.max(20, Math.ceil(RATE / 2)), // enough for answers within half a second
      maxVUs: Math.max(50, RATE), // and for answers within a second; what they cannot send is dropped and counted
      gracefulStop: '15s', // longer than PREDICTOR_DEADLINE: every request that was begun gets its answer
    },
  },
  // A Service chooses a pod for a connection, not for a request: new connections reach new pods too.
  noVUConnectionReuse: true,
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  thresholds: {
    checks: ['rate==1'],
    'http_req_failed{scenario:load}': ['rate==0'], // also while a pod is replaced
    'http_req_duration{scenario:load}': ['p(95)<250'], // PREDICTOR_SLOW: what is slower keeps its trace
    dropped_iterations: [`rate<${RATE / 100}`], // the rate was what was asked for
  },
};

const HEADERS = { 'Content-Type': 'application/json' };
const CALLS = {
  '/predict': { rows: 1, right: (answer) => probabilities(answer) },
  '/predict/label': { rows: 1, right: (answer, labels) => labels.includes(answer.prediction) },
  '/predict/batch': {
    rows: BATCH_ROWS,
    right: (answer) => answer.predictions.length === BATCH_ROWS && answer.predictions.every(probabilities),
  },
};

export function setup() {
  // Client and servers start together.
  for (let tries = 1; http.get(`${API}/readyz`).status !== 200; tries += 1) {
    if (tries === 30) exec.test.abort(`${API}/readyz has not answered with 200 for half a minute`);
    sleep(1);
  }
  const width = http.get(`${API}/metadata`).json().data_sample[0].length;
  if (width !== OUTLIER.length) {
    exec.test.abort(`the model takes ${width} numbers a row, load.js sends ${OUTLIER.length}: replace its rows`);
  }
  return Object.values(http.get(`${API}/label`).json());
}

export default function (labels) {
  // Of ten requests seven ask for probabilities, two for the label, one for a batch.
  const turn = exec.scenario.iterationInTest % 10;
  const path = turn < 7 ? '/predict' : turn < 9 ? '/predict/label' : '/predict/batch';
  const { rows, right } = CALLS[path];
  const body = JSON.stringify({ data: Array.from({ length: rows }, row) });
  const response = http.post(`${API}${path}`, body, { headers: HEADERS });
  const answer = response.status === 200 ? response.json() : null;
  check(response, {
    'answered with 200': () => answer !== null,
    'the prediction is whole': () => answer !== null && answer.job_id.length === 36 && right(answer, labels),
    'it is logged': () => answer !== null && response.headers['X-Prediction-Logged'] !== 'false',
  });
}

function row() {
  if (Math.random() < OUTLIER_SHARE) return OUTLIER;
  const flower = FLOWERS[Math.floor(Math.random() * FLOWERS.length)];
  return flower.map((size) => size * (0.95 + 0.1 * Math.random()));
}

function probabilities(answer) {
  const sum = answer.prediction.reduce((total, each) => total + each, 0);
  return Math.abs(sum - 1) < 1e-3; // float32
}

function number(name, otherwise, least, most) {
  const value = __ENV[name] === undefined ? otherwise : Number(__ENV[name]);
  if (!(value >= least && value <= most)) {
    throw new Error(`${name} is '${__ENV[name]}', wanted a number from ${least} to ${most}`);
  }
  return value;
}
