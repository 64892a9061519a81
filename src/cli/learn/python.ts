/**
 * The program that runs a student's function in Python. One line of stdin has the calls as JSON, the answers go to
 * stdout. Infinity is null, and NaN the word nan. When stdin ends, because the command gave up or is gone, so does the
 * program; Ctrl-C ends it whatever the student catches.
 * @module
 */
export const PYTHON_PROGRAM = `
import importlib.util, io, json, math, os, signal, sys, threading, traceback
file, name, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
signal.signal(signal.SIGINT, signal.SIG_DFL)
if hasattr(signal, 'alarm'): signal.alarm(2 * most)  # if native code keeps the thread below from running
out = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)
end = threading.Lock()

class Heard(io.TextIOBase):
    text = ''
    def writable(self): return True
    def write(self, text):
        self.text = (self.text + text)[:4000]
        return len(text)
    def take(self):
        text, self.text = self.text, ''
        return text

heard = Heard()

def finish(said):
    end.acquire()
    try:
        out.write(json.dumps(said))
        out.flush()
    finally:
        os._exit(0)

def watch():
    while os.read(0, 1): pass
    finish({'failed': 'late', 'printed': heard.take()})

line = b''
while not line.endswith(b'\\n'):
    piece = os.read(0, 65536)
    if not piece: os._exit(1)
    line += piece
calls = json.loads(line)
threading.Thread(target=watch, daemon=True).start()
try:
    import numpy
except ImportError:
    numpy = None

def given(x):
    if x is None: return math.inf
    if isinstance(x, list):
        whole = [given(y) for y in x]
        return numpy.array(whole) if numpy is not None else whole
    return x

class Odd(Exception): pass

def plain(x):
    if numpy is not None and isinstance(x, (numpy.ndarray, numpy.generic)): x = x.tolist()
    if isinstance(x, bool): return int(x)
    if isinstance(x, (int, float)):
        return None if x == math.inf else 'nan' if x != x else '-inf' if x == -math.inf else x
    if isinstance(x, dict): return {key: plain(each) for key, each in x.items()}
    if isinstance(x, (list, tuple)): return [plain(each) for each in x]
    if hasattr(x, '__await__'): raise Odd('it returns a coroutine: the function must not be async')
    raise Odd('it returns ' + ('nothing' if x is None else 'a ' + type(x).__name__) + ', where numbers should be')

def said(error):
    text = '%s: %s' % (type(error).__name__, error)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if not lines or isinstance(error, SyntaxError): return text
    return '%s (at %s:%d)' % (text, os.path.basename(file), lines[-1])

def run():
    try:
        spec = importlib.util.spec_from_file_location('answer', file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        return {'failed': 'the file does not load: ' + said(error), 'printed': heard.take()}
    function = getattr(module, name, None)
    if not callable(function): return {'failed': 'the file has no function ' + name, 'printed': heard.take()}
    loaded = heard.take()
    answers = []
    for call in calls:
        try:
            answer = {'value': plain(function(*[given(x) for x in call]))}
        except Odd as error:
            answer = {'error': str(error)}
        except (Exception, SystemExit, GeneratorExit) as error:
            answer = {'error': 'it raises ' + said(error)}
        answers.append({**answer, 'printed': heard.take()})
    return {'answers': answers, 'loaded': loaded}

sys.stdin = open(os.devnull)
sys.stdout = sys.stderr = heard
finish(run())
`;
