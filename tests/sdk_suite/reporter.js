// Tells what happens to each test as it happens, one line of JSON each, to the file named by SUITE_REPORT: what was said is
// there also when the process is ended from outside. The same for every version of mocha.
const fs = require('fs');

const report = fs.openSync(process.env.SUITE_REPORT, 'a');

module.exports = class Lines {
  constructor(runner) {
    const tell = (line) => fs.writeSync(report, `${JSON.stringify(line)}\n`);
    runner.on('pass', (test) => tell({ outcome: 'passed', title: test.fullTitle(), milliseconds: test.duration }));
    runner.on('pending', (test) => tell({ outcome: 'pending', title: test.fullTitle() }));
    runner.on('fail', (test, error) => {
      const message = String((error && (error.stack || error.message)) || error);
      const status = error && error.status ? ` (status ${error.status})` : '';
      tell({ outcome: 'failed', title: test.fullTitle(), message: message + status });
    });
    runner.on('end', () => tell({ outcome: 'ended' }));
  }
};
