"""Finds by reading it what makes an environment in Python differ from run to run: chance, clocks, the order of sets.

`python -m lockstep_sdk.scan FILE…` prints one JSON object a line. It follows the names that a file imports and the names
that generators are kept under; what is reached through anything cleverer is not found, so this is advice and no proof.
"""

import ast
import json
import sys

GENERATOR = set(
    "random uniform integers randint randrange choice choices sample shuffle permutation permuted bytes randbytes getrandbits "
    "rand random_sample triangular".split()
)
BY_LOGARITHMS = set(
    "gauss normalvariate lognormvariate expovariate betavariate gammavariate paretovariate weibullvariate vonmisesvariate "
    "binomialvariate normal standard_normal exponential standard_exponential gamma beta binomial poisson geometric laplace "
    "logistic lognormal multinomial multivariate_normal dirichlet chisquare pareto power rayleigh vonmises wald weibull zipf "
    "gumbel hypergeometric negative_binomial standard_gamma standard_t standard_cauchy logseries f randn".split()
)
SEEDING = set("seed default_rng Random RandomState Generator SeedSequence PCG64 MT19937 setstate getstate np_random".split())
KEPT_AS = {"np_random", "_np_random", "rng", "_rng", "random_state", "generator"}
OUTSIDE = {
    "os.urandom": "the operating system's",
    "uuid.uuid1": "the clock's and the machine's",
    "uuid.uuid4": "the operating system's",
    "random.SystemRandom": "the operating system's",
}
CLOCKS = set(
    "time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter time.perf_counter_ns time.process_time "
    "time.localtime time.gmtime datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today".split()
)
TORCH = set("rand randn randint randperm normal bernoulli multinomial rand_like randn_like randint_like".split())
UNORDERED = {"os.listdir", "os.scandir", "glob.glob", "glob.iglob"}
# What is the same in any order.
HARMLESS = {"sorted", "len", "sum", "min", "max", "any", "all", "set", "frozenset"}


def scan(text, file):
    """The findings of one file, in the order of its lines."""
    finder = Finder(file, text.splitlines())
    tree = ast.parse(text, file)
    finder.learn(tree)
    finder.visit(tree)
    return sorted(finder.found, key=lambda row: row["line"])


class Finder(ast.NodeVisitor):
    def __init__(self, file, lines):
        self.file, self.lines, self.found = file, lines, []
        self.names, self.generators, self.sets = {}, set(KEPT_AS), set()
        self.harmless = set()

    def learn(self, tree):
        """What names mean: imports first, then what is assigned."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for one in node.names:
                    self.names[one.asname or one.name.split(".")[0]] = one.name if one.asname else one.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for one in node.names:
                    self.names[one.asname or one.name] = f"{node.module}.{one.name}"
        for node in ast.walk(tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    name = self.last(target)
                    if name and isinstance(node.value, ast.Call):
                        made = self.dotted(node.value.func) or ""
                        if made.rsplit(".", 1)[-1] in ("default_rng", "Random", "RandomState", "Generator") and made.startswith(
                            ("numpy.", "random.")
                        ):
                            self.generators.add(name)
                    if name and self.is_set(node.value):
                        self.sets.add(name)

    def last(self, node):
        return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None

    def dotted(self, node):
        """The full name of what is called, as far as it can be seen."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        return None

    def is_set(self, node):
        if isinstance(node, (ast.Set, ast.SetComp)):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id in ("set", "frozenset")
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Sub, ast.BitAnd, ast.BitOr)):
            return self.is_set(node.left) or self.is_set(node.right)
        return self.last(node) in self.sets if isinstance(node, (ast.Name, ast.Attribute)) else False

    def tell(self, node, kind, what):
        text = self.lines[node.lineno - 1].strip() if node.lineno <= len(self.lines) else ""
        row = {"file": self.file, "line": node.lineno, "kind": kind, "what": what, "text": text}
        if row not in self.found:
            self.found.append(row)

    def visit_Call(self, node):
        name = self.dotted(node.func) or ""
        first, _, last = name.rpartition(".")
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        own = isinstance(node.func, ast.Attribute) and self.last(node.func.value) in self.generators
        if name in OUTSIDE or name.startswith("secrets."):
            self.tell(node, "outside", f"{name}: {OUTSIDE.get(name, 'the operating system' + chr(39) + 's')} random numbers")
        elif first in ("random", "numpy.random") or own:
            shown = f"{first or self.last(node.func.value)}.{last or method}" if not own else f"{self.last(node.func.value)}.{method}"
            known = last if not own else method
            if known in SEEDING:
                self.tell(node, "seed", shown)
            elif known in GENERATOR:
                self.tell(node, "random", shown)
            elif known in BY_LOGARITHMS:
                self.tell(node, "recorded", shown)
        elif first in ("torch", "torch.distributions") and last in TORCH or first == "torch" and last == "manual_seed":
            self.tell(node, "torch", name)
        elif name in CLOCKS:
            self.tell(node, "clock", name)
        elif name in UNORDERED:
            self.tell(node, "order", f"{name}: the order of files")
        elif name in ("hash", "id"):
            self.tell(node, "order", f"{name}(): another number in each process")
        elif method == "pop" and not node.args and self.is_set(node.func.value):
            self.tell(node, "order", "pop() of a set")
        elif name in ("list", "tuple", "enumerate", "iter", "next", "zip", "map") or method in ("choice", "sample", "extend", "join"):
            for argument in node.args:
                if self.is_set(argument):
                    self.tell(node, "order", f"the order of a set, in {name or method}()")
        elif name in HARMLESS:
            for argument in node.args:
                if isinstance(argument, ast.GeneratorExp):
                    self.harmless |= {id(part.iter) for part in argument.generators}
        self.generic_visit(node)

    def visit_For(self, node):
        self.looped(node, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node):
        self.looped(node.iter, node.iter)
        self.generic_visit(node)

    def visit_SetComp(self, node):
        self.harmless |= {id(part.iter) for part in node.generators}
        self.generic_visit(node)

    def looped(self, node, over):
        if id(over) not in self.harmless and self.is_set(over):
            self.tell(node, "order", "a loop over a set")


def main(files):
    for file in files:
        try:
            with open(file, encoding="utf-8") as source:
                text = source.read()
            rows = scan(text, file)
        except (OSError, SyntaxError, ValueError) as error:
            rows = [{"file": file, "line": getattr(error, "lineno", None) or 0, "kind": "unread", "what": str(error), "text": ""}]
        for row in rows:
            print(json.dumps(row))


if __name__ == "__main__":
    main(sys.argv[1:])
