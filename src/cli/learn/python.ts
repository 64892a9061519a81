/**
 * The program that runs a student's function in Python. Calls come as JSON on stdin, answers go to stdout. Infinity is
 * null, and NaN the word nan.
 * @module
 */
export const PYTHON_PROGRAM = `
import importlib.util, json, math, sys
file, name = sys.argv[1:3]
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

def plain(x):
    if numpy is not None and isinstance(x, (numpy.ndarray, numpy.generic)): x = x.tolist()
    if isinstance(x, bool): return int(x)
    if isinstance(x, (int, float)):
        return None if x == math.inf else 'nan' if x != x else '-inf' if x == -math.inf else x
    if isinstance(x, dict): return {key: plain(each) for key, each in x.items()}
    if isinstance(x, (list, tuple)): return [plain(each) for each in x]
    raise TypeError('it returns ' + ('nothing' if x is None else 'a ' + type(x).__name__) + ', where numbers should be')

def run():
    calls = json.load(sys.stdin)
    try:
        spec = importlib.util.spec_from_file_location('answer', file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except BaseException as error:
        return 'the file does not load: %s: %s' % (type(error).__name__, error)
    function = getattr(module, name, None)
    if not callable(function): return 'the file has no function ' + name
    answers = []
    for call in calls:
        try:
            answers.append({'value': plain(function(*[given(x) for x in call]))})
        except BaseException as error:
            text = str(error)
            answers.append({'error': text if text.startswith('it returns') else 'it raises %s: %s' % (type(error).__name__, text)})
    return answers

out = sys.stdout
sys.stdout = sys.stderr
answers = run()
out.write(json.dumps(answers))
`;
