"""Tables of import names and their packages, and of the modules of Python's standard library.

Tables are necessary because a package index does not list import names. Look-ups use canonical names ("scikit-learn").
"""

from __future__ import annotations

import re

from uv_argo_magic.core.suggest import nearest

PACKAGE_OF = {
    "attr": "attrs",
    "barcode": "python-barcode",
    "bio": "biopython",
    "bs4": "beautifulsoup4",
    "community": "python-louvain",
    "crypto": "pycryptodome",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "decouple": "python-decouple",
    "delta": "delta-spark",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "googleapiclient": "google-api-python-client",
    "grpc": "grpcio",
    "haiku": "dm-haiku",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "mpl-toolkits": "matplotlib",
    "mysqldb": "mysqlclient",
    "nacl": "pynacl",
    "newspaper": "newspaper3k",
    "openbabel": "openbabel-wheel",
    "opengl": "pyopengl",
    "openssl": "pyopenssl",
    "osgeo": "gdal",
    "pil": "pillow",
    "pkg-resources": "setuptools",
    "pptx": "python-pptx",
    "pywt": "pywavelets",
    "pyximport": "cython",
    "rapidjson": "python-rapidjson",
    "serial": "pyserial",
    "skbio": "scikit-bio",
    "skfuzzy": "scikit-fuzzy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "sklearn-extra": "scikit-learn-extra",
    "skmultilearn": "scikit-multilearn",
    "skopt": "scikit-optimize",
    "skrf": "scikit-rf",
    "sksurv": "scikit-survival",
    "slugify": "python-slugify",
    "snappy": "python-snappy",
    "snowflake": "snowflake-connector-python",
    "telegram": "python-telegram-bot",
    "umap": "umap-learn",
    "usb": "pyusb",
    "win32api": "pywin32",
    "wx": "wxpython",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Import name (canonical) -> the package that is usually meant."""

ALSO_IMPORTED = {
    "absl": "absl-py",
    "bson": "pymongo",
    "cairo": "pycairo",
    "can": "python-can",
    "cassandra": "cassandra-driver",
    "cpuinfo": "py-cpuinfo",
    "cupy": "cupy-cuda12x",
    "discord": "discord-py",
    "ffmpeg": "ffmpeg-python",
    "gi": "pygobject",
    "github": "pygithub",
    "gitlab": "python-gitlab",
    "kafka": "kafka-python",
    "markdown_it": "markdown-it-py",
    "mecab": "mecab-python3",
    "memcache": "python-memcached",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "nmap": "python-nmap",
    "odf": "odfpy",
    "past": "future",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "pyannote": "pyannote-audio",
    "pyro": "pyro-ppl",
    "pythoncom": "pywin32",
    "rest_framework": "djangorestframework",
    "ruamel": "ruamel-yaml",
    "shapefile": "pyshp",
    "sklearn_extra": "scikit-learn-extra",
    "socks": "pysocks",
    "sonnet": "dm-sonnet",
    "speech_recognition": "speechrecognition",
    "stdnum": "python-stdnum",
    "surprise": "scikit-surprise",
    "tabula": "tabula-py",
    "talib": "ta-lib",
    "tlz": "toolz",
    "tree": "dm-tree",
    "vertexai": "google-cloud-aiplatform",
    "vlc": "python-vlc",
    "weaviate": "weaviate-client",
    "websocket": "websocket-client",
    "whisper": "openai-whisper",
    "win32com": "pywin32",
    "win32con": "pywin32",
    "xlib": "python-xlib",
}
"""Import name (lower case) -> its package, if another package has the import name as its name."""

NAMESPACES = frozenset(
    {"azure", "backports", "databricks", "google", "jaraco", "opentelemetry", "sphinxcontrib", "zope"}
)  # fmt: skip
"""Import names that many packages share (lower case)."""

IN_NAMESPACES = {
    "azure.ai.documentintelligence": "azure-ai-documentintelligence",
    "azure.ai.formrecognizer": "azure-ai-formrecognizer",
    "azure.ai.inference": "azure-ai-inference",
    "azure.ai.ml": "azure-ai-ml",
    "azure.ai.projects": "azure-ai-projects",
    "azure.ai.textanalytics": "azure-ai-textanalytics",
    "azure.core": "azure-core",
    "azure.cosmos": "azure-cosmos",
    "azure.data.tables": "azure-data-tables",
    "azure.devops": "azure-devops",
    "azure.eventgrid": "azure-eventgrid",
    "azure.eventhub": "azure-eventhub",
    "azure.functions": "azure-functions",
    "azure.identity": "azure-identity",
    "azure.keyvault.certificates": "azure-keyvault-certificates",
    "azure.keyvault.keys": "azure-keyvault-keys",
    "azure.keyvault.secrets": "azure-keyvault-secrets",
    "azure.kusto.data": "azure-kusto-data",
    "azure.mgmt.compute": "azure-mgmt-compute",
    "azure.mgmt.network": "azure-mgmt-network",
    "azure.mgmt.resource": "azure-mgmt-resource",
    "azure.mgmt.storage": "azure-mgmt-storage",
    "azure.monitor.query": "azure-monitor-query",
    "azure.search.documents": "azure-search-documents",
    "azure.servicebus": "azure-servicebus",
    "azure.storage.blob": "azure-storage-blob",
    "azure.storage.filedatalake": "azure-storage-file-datalake",
    "azure.storage.fileshare": "azure-storage-file-share",
    "azure.storage.queue": "azure-storage-queue",
    "backports.zoneinfo": "backports-zoneinfo",
    "databricks.sdk": "databricks-sdk",
    "databricks.sql": "databricks-sql-connector",
    "google.adk": "google-adk",
    "google.ads": "google-ads",
    "google.api": "googleapis-common-protos",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud.aiplatform": "google-cloud-aiplatform",
    "google.cloud.artifactregistry": "google-cloud-artifact-registry",
    "google.cloud.automl": "google-cloud-automl",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.bigquery_storage": "google-cloud-bigquery-storage",
    "google.cloud.bigtable": "google-cloud-bigtable",
    "google.cloud.compute": "google-cloud-compute",
    "google.cloud.dataproc": "google-cloud-dataproc",
    "google.cloud.datastore": "google-cloud-datastore",
    "google.cloud.dialogflow": "google-cloud-dialogflow",
    "google.cloud.dlp": "google-cloud-dlp",
    "google.cloud.documentai": "google-cloud-documentai",
    "google.cloud.error_reporting": "google-cloud-error-reporting",
    "google.cloud.firestore": "google-cloud-firestore",
    "google.cloud.functions": "google-cloud-functions",
    "google.cloud.kms": "google-cloud-kms",
    "google.cloud.language": "google-cloud-language",
    "google.cloud.logging": "google-cloud-logging",
    "google.cloud.monitoring": "google-cloud-monitoring",
    "google.cloud.ndb": "google-cloud-ndb",
    "google.cloud.pubsub": "google-cloud-pubsub",
    "google.cloud.resourcemanager": "google-cloud-resource-manager",
    "google.cloud.run": "google-cloud-run",
    "google.cloud.scheduler": "google-cloud-scheduler",
    "google.cloud.secretmanager": "google-cloud-secret-manager",
    "google.cloud.spanner": "google-cloud-spanner",
    "google.cloud.speech": "google-cloud-speech",
    "google.cloud.storage": "google-cloud-storage",
    "google.cloud.tasks": "google-cloud-tasks",
    "google.cloud.texttospeech": "google-cloud-texttospeech",
    "google.cloud.translate": "google-cloud-translate",
    "google.cloud.videointelligence": "google-cloud-videointelligence",
    "google.cloud.vision": "google-cloud-vision",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.longrunning": "googleapis-common-protos",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "google.resumable_media": "google-resumable-media",
    "google.rpc": "googleapis-common-protos",
    "google.type": "googleapis-common-protos",
    "opentelemetry.metrics": "opentelemetry-api",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.trace": "opentelemetry-api",
    "zope.interface": "zope-interface",
}
"""Module in one of these (lower case, without a version such as `_v1`) -> its package."""

REMOVED = {
    "aifc": "standard-aifc",
    "asynchat": "pyasynchat",
    "asyncore": "pyasyncore",
    "audioop": "audioop-lts",
    "cgi": "legacy-cgi",
    "cgitb": "legacy-cgi",
    "chunk": "standard-chunk",
    "crypt": "legacycrypt",
    "distutils": "setuptools",
    "imghdr": "standard-imghdr",
    "mailcap": "standard-mailcap",
    "nntplib": "standard-nntplib",
    "pipes": "standard-pipes",
    "sndhdr": "standard-sndhdr",
    "sunau": "standard-sunau",
    "telnetlib": "standard-telnetlib",
    "uu": "standard-uu",
    "xdrlib": "standard-xdrlib",
}
"""Module that Python 3.12 or 3.13 removed from its standard library -> a package that provides it."""

MISSPELLINGS = {
    "beautiful-soup": "beautifulsoup4",
    "beautifulsoup": "beautifulsoup4",
    "cv": "opencv-python-headless",
    "fbprophet": "prophet",
    "huggingface": "huggingface-hub",
    "lightgbm-python": "lightgbm",
    "matplot": "matplotlib",
    "opencv": "opencv-python-headless",
    "opencv2": "opencv-python-headless",
    "psycopg2-bin": "psycopg2-binary",
    "pylab": "matplotlib",
    "pytorch": "torch",
    "sci-kit-learn": "scikit-learn",
    "scikit": "scikit-learn",
    "scikitimage": "scikit-image",
    "scikitlearn": "scikit-learn",
    "spark": "pyspark",
    "tensor-flow": "tensorflow",
}
"""Common misspelling (canonical) -> the package."""

STANDARD_LIBRARY_NAMES = """
abc antigravity argparse array ast asyncio atexit base64 bdb binascii bisect builtins bz2 calendar cmath cmd code
codecs codeop collections colorsys compileall concurrent configparser contextlib contextvars copy copyreg cProfile
csv ctypes curses dataclasses datetime dbm decimal difflib dis doctest email encodings ensurepip enum errno
faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc genericpath getopt getpass gettext glob
graphlib grp gzip hashlib heapq hmac html http idlelib imaplib importlib inspect io ipaddress itertools json
keyword linecache locale logging lzma mailbox marshal math mimetypes mmap modulefinder msvcrt multiprocessing netrc
nt ntpath nturl2path numbers opcode operator optparse os pathlib pdb pickle pickletools pkgutil platform plistlib
poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random
re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site
smtplib socket socketserver sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string stringprep
struct subprocess symtable sys sysconfig syslog tabnanny tarfile tempfile termios textwrap this threading time
timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types typing unicodedata
unittest urllib uuid venv warnings wave weakref webbrowser winreg winsound wsgiref xml xmlrpc zipapp zipfile
zipimport zlib zoneinfo
"""

STANDARD_LIBRARY = frozenset(STANDARD_LIBRARY_NAMES.split())
"""Modules of the standard library of Python 3.11 to 3.14, including those of some systems only."""

_STANDARD_LIBRARY = frozenset(name.lower().replace("_", "-") for name in STANDARD_LIBRARY)

POPULAR = (
    "accelerate", "aiohttp", "altair", "anyio", "arviz", "bokeh", "boto3", "bottleneck", "cartopy", "catboost",
    "celery", "click", "cloudpickle", "cython", "dask", "datasets", "distributed", "django", "duckdb", "fastapi",
    "fastparquet", "fiona", "flask", "fsspec", "gcsfs", "gensim", "geopandas", "gitpython", "graphviz",
    "great-tables", "h5py", "html5lib", "httpx", "hvplot", "hypothesis", "ibis-framework", "ipykernel", "ipython",
    "ipywidgets", "jax", "jinja2", "joblib", "jsonschema", "keras", "lightgbm", "lxml", "matplotlib", "mlflow",
    "netcdf4", "networkx", "nltk", "numba", "numexpr", "numpy", "openai", "opencv-python", "openpyxl", "optuna",
    "pandas", "patsy", "pillow", "plotly", "polars", "prophet", "protobuf", "psutil", "psycopg2-binary", "pyarrow",
    "pydantic", "pydot", "pygraphviz", "pymongo", "pymysql", "pyogrio", "pyproj", "pyreadstat", "pyspark", "pytest",
    "python-calamine", "pyxlsb", "pyyaml", "rasterio", "redis", "requests", "rich", "rtree", "s3fs", "scikit-image",
    "scikit-learn", "scipy", "seaborn", "sentence-transformers", "sentencepiece", "shapely", "spacy", "sqlalchemy",
    "statsmodels", "streamlit", "sympy", "tables", "tabulate", "tensorflow", "tiktoken", "tokenizers", "torch",
    "torchaudio", "torchvision", "tqdm", "transformers", "urllib3", "xarray", "xgboost", "xlrd", "xlsxwriter", "zarr",
    "zstandard",
)  # fmt: skip
"""Popular packages, for suggestions."""

_KNOWN = frozenset((*POPULAR, *PACKAGE_OF.values(), *ALSO_IMPORTED.values()))


def in_standard_library(name: str) -> bool:
    """Whether this is a module of Python's standard library, by its import name or canonical name."""
    return canonical(name.partition(".")[0]) in _STANDARD_LIBRARY


def package_of(module: str) -> str:
    """The package that provides a module, by its import name; the same name if nothing else is known.

    For an unknown module of a namespace that packages share, it is "".
    """
    top = module.partition(".")[0]
    if top.lower() in NAMESPACES:
        name = re.sub(r"_v\d\w*", "", module.lower())
        return next((package for part, package in IN_NAMESPACES.items() if f"{name}.".startswith(f"{part}.")), "")
    return {**REMOVED, **ALSO_IMPORTED}.get(top.lower()) or PACKAGE_OF.get(canonical(top)) or top


def known_package(word: str) -> str:
    """The well-known package with this name or import name, or ""; extras are kept."""
    name, bracket, extras = word.partition("[")
    plain = canonical(name)
    package = right_name(plain) or (plain if plain in _KNOWN else "")
    return package + bracket + extras if package else ""


def right_name(name: str) -> str:
    """The package meant by a canonical name that is an import name or a misspelling; "" for any other name."""
    return MISSPELLINGS.get(name) or PACKAGE_OF.get(name, "")


def suggest(name: str) -> str:
    """The package most likely meant by `name`, or ""."""
    plain = canonical(name)
    close = right_name(plain) or nearest(plain, POPULAR)
    return close if close != plain else ""


def canonical(name: str) -> str:
    """The canonical form of a name, as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def import_name_warning(name: str) -> str:
    """A warning if a canonical name is an import name rather than the name of a package, else ""."""
    if name in PACKAGE_OF:
        return f"{name} is an import name; its package is usually {PACKAGE_OF[name]}."
    if in_standard_library(name):
        return f"{name} is part of Python's standard library; a package of that name is something else."
    return ""
