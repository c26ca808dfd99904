"""Surroundings of a service as users have them: names of folders, variables and shells of other programs."""

import shutil
import subprocess

HOME = "a b'c\"d#é日本 and too long a path for the sockets of Ray"
# Variables that other programs leave in people's environments. None is meant for a service on loopback.
_NOWHERE = "http://127.0.0.1:9"
LEFT_BEHIND = {
    **dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
    **{"all_proxy": "socks5://127.0.0.1:9", "no_proxy": "example.org"},
    **{"RAY_ADDRESS": "192.0.2.1:6379", "RAY_NAMESPACE": "mine", "RAY_RUNTIME_ENV_HOOK": "no.such.hook"},
    **{"MLFLOW_TRACKING_URI": _NOWHERE, "MLFLOW_RUN_ID": "mine", "MLFLOW_EXPERIMENT_NAME": "mine"},
    **{"MLFLOW_ENABLE_ASYNC_LOGGING": "true", "MLFLOW_ACTIVE_MODEL_ID": "m-1"},
    **{"PYTHONWARNINGS": "error", "PYTHONSTARTUP": "/nowhere.py", "PYTHONINSPECT": "", "PYTHONOPTIMIZE": "1"},
    **{"OMP_NUM_THREADS": "", "MKL_NUM_THREADS": "0", "CUDA_VISIBLE_DEVICES": "", "TZ": "Nowhere/City"},
    **{"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "192.0.2.1", "SLURM_NTASKS": "8", "COLUMNS": "abc"},
    **{"PROMETHEUS_MULTIPROC_DIR": "/nowhere"},
    **{"PGHOST": "192.0.2.1", "PGOPTIONS": "-cdefault_transaction_read_only=on", "AWS_PROFILE": "nobody"},
    **{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "GRPC_DNS_RESOLVER": "native"},
}

# Names of libraries that the service loads; files of its working folder may have them.
LIBRARIES = ("ray", "mlflow", "torch", "numpy", "json", "click", "grpc", "logging", "signal", "sqlalchemy")
# A user without a name: an id that the system does not know, as in a container.
NAMELESS = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]

# New files would be closed to their own user, and open files are few.
ODD_SHELL = ["sh", "-c", 'umask 0777 && ulimit -Sn 256 && exec "$0" "$@"']
# Other values of the same kinds, and more: certificates, numbers of threads, ports, levels of logs.
FOREIGN = {
    **dict.fromkeys(("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME", "PYTHONPATH"), "/nonexistent"),
    **{"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "nowhere", "SLURM_JOB_ID": "12", "PORT": "80"},
    **{"OMP_NUM_THREADS": "many", "OPENBLAS_NUM_THREADS": "1000", "LOKY_MAX_CPU_COUNT": "0"},
    **{"PYTHONWARNINGS": "error", "PYTHONHASHSEED": "7", "TZ": ":Asia/Kathmandu", "MPLBACKEND": "TkAgg"},
    **{"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_RUN_ID": "x", "RAY_ADDRESS": "auto"},
    **{"CUDA_VISIBLE_DEVICES": "99", "GRPC_VERBOSITY": "loud", "OTEL_TRACES_EXPORTER": "otlp"},
    **{"AWS_PROFILE": "nobody", "PGOPTIONS": "-c x=y", "DEBUG": "1"},
}


def nameless():
    can = (
        shutil.which("unshare")
        and not subprocess.run([*NAMELESS, "true"], check=False, capture_output=True).returncode
    )
    return NAMELESS if can else []
