"""What goes into a bundle, what stays out, and what is refused."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from airflow_vertex_provider import bundle
from airflow_vertex_provider.bundle import BundleError, archive, missing_paths, pack
from tests.support.projects import lay
from tests.unit.runtime.container import PYTHONS, find_python

KEY = "-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n"


def names(folder: Path, *paths: str) -> list[str]:
    return list(pack(folder, paths).names)


def refusal(folder: Path, *paths: str) -> str:
    with pytest.raises(BundleError) as caught:
        pack(folder, paths)
    return str(caught.value)


def test_whole_folder(tmp_path: Path) -> None:
    content: dict[str, str | bytes] = {"dag.py": "a = 1\n", "p/__init__.py": "", "p/x.bin": bytes(range(256))}
    content["sql/ä.sql"] = "select"
    packed = pack(lay(tmp_path, content))
    with zipfile.ZipFile(io.BytesIO(packed.data)) as opened:
        found = {name: opened.read(name) for name in opened.namelist()}
    assert found == {
        name: text if isinstance(text, bytes) else text.encode() for name, text in content.items()
    }
    assert packed.names == tuple(sorted(content))
    assert packed.sha256 == archive.digest(packed.data)
    assert packed.under("gs://b/root/").uri == f"gs://b/root/code/{packed.sha256}.zip"


def test_bytes_depend_on_names_and_contents_alone(tmp_path: Path) -> None:
    content = {"b.py": "b", "a/c.py": "c", "a.py": "a"}
    first = lay(tmp_path / "one", content)
    second = lay(tmp_path / "two", dict(reversed(content.items())))
    (second / "a.py").chmod(stat.S_IRWXU)
    os.utime(second / "b.py", (1, 1))
    assert pack(first).data == pack(second).data
    lay(second, {"a/c.py": "C"})
    assert pack(first).sha256 != pack(second).sha256


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_makes_the_same_bytes(version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    content = {"pkg/ä.py": bytes(range(256)), "pkg/__init__.py": b"", "a.txt": b"text" * 1000}
    code = f"import archive; print(archive.digest(archive.zipped({content!r})))"
    done = subprocess.run(
        [python, "-c", code],
        cwd=Path(archive.__file__).parent,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == archive.digest(archive.zipped(content))


LEFT_OUT = [
    ".env", ".env.local", "prod.env", "pkg/.ENV", "server.pem", "a.key", "A.KEY", "b.p12", "c.pfx", "d.jks",
    "id_rsa", "id_rsa.pub", "id_ed25519", "id_ecdsa.old", ".netrc", "_netrc", ".pypirc", ".pgpass", ".npmrc",
    "my-credentials-2.json", "credentials", "client_secret_12.json", "acme-service-account-prod.json",
    "service_account.json", "ServiceAccount.json", "secrets.yaml", "secret.toml", "secrets.py", "x.tfstate",
    "terraform.tfvars", "kubeconfig", "airflow.cfg", "simple_auth_manager_passwords.json.generated",
    "prod.env.bak", "key.pem.bak", "server.key.old", "credentials.yaml", "aws_credentials",
    "prod.secrets.yaml", "my_secret.json", "secret_key.txt", "db_passwords.yml", "connections.yaml",
    "variables.json", "pgpass.conf", "airflow.db", "airflow.db-wal", "webserver_config.py", "kubeconfig.yaml",
    "config/my.cnf", "htpasswd",
    ".git/config", ".gitignore", "__pycache__/a.pyc", "p/__pycache__/b.cpython-311.pyc", "old.pyc", "old.pyo",
]  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_never_packed(tmp_path: Path, name: str) -> None:
    """Neither with the folder, nor by an ignore file that lets it in, nor as the target of a link."""
    lay(tmp_path, {"ok.py": "", name: "password"})
    assert names(tmp_path) == ["ok.py"]
    lay(tmp_path, {".vertexignore": f"!{name}\n!*\n"})
    assert names(tmp_path) == ["ok.py"]
    (tmp_path / "link.txt").symlink_to(name)
    assert b"password" not in pack(tmp_path).data


@pytest.mark.parametrize("name", ["credentials.py", "password_rules.py", "connections.py", "keys/by.csv"])
def test_code_about_secrets_is_packed(tmp_path: Path, name: str) -> None:
    lay(tmp_path, {name: ""})
    assert names(tmp_path) == [name]


def test_hidden(tmp_path: Path) -> None:
    lay(tmp_path, {"ok.py": "", ".hidden/module.py": "", ".module.py": ""})
    assert names(tmp_path) == ["ok.py"]
    # Named by its author it is not hidden any more.
    assert names(tmp_path, ".hidden", ".module.py") == [".module.py", "module.py"]


def test_secret_named_by_the_author(tmp_path: Path) -> None:
    lay(tmp_path, {".env": "password", "ok.py": ""})
    assert "code_paths[0]: found '.env'" in refusal(tmp_path, ".env", "ok.py")


def test_secrets_are_told(tmp_path: Path) -> None:
    assert pack(lay(tmp_path, {"ok.py": "", "pkg/tls.pem": ""})).secrets == (str(tmp_path / "pkg/tls.pem"),)


@pytest.mark.parametrize(
    "kind",
    [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ],
)
@pytest.mark.parametrize("form", ["text", "json", "crlf", "headers"])
def test_private_key_in_a_file(tmp_path: Path, kind: str, form: str) -> None:
    text = KEY.format(kind=kind, body="MIIEvQ+/" * 20)
    if form == "json":
        text = json.dumps({"type": "x", "private_key": text})
    elif form == "crlf":
        text = text.replace("\n", "\r\n")
    elif form == "headers":
        text = KEY.format(kind=kind, body="Proc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n" + "MIIEvQ+/" * 20)
    lay(tmp_path, {"conf/tls.txt": text, "ok.py": ""})
    message = refusal(tmp_path)
    assert f"a private key in {tmp_path}/conf/tls.txt" in message
    assert ".vertexignore" in message
    lay(tmp_path, {".vertexignore": "conf/tls.txt\n"})
    assert names(tmp_path) == ["ok.py"]


def test_code_about_keys_is_no_key(tmp_path: Path) -> None:
    code = 'BEGIN, END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"\n' + "x" * 100
    assert names(lay(tmp_path, {"pem.py": code})) == ["pem.py"]


@pytest.mark.parametrize(
    ("ignore", "kept"),
    [
        ({".vertexignore": "*.csv\n"}, ["a.py", "pkg/b.py", "pkg/deep/c.py"]),
        ({".vertexignore": "*.csv\n!pkg/x.csv\n"}, ["a.py", "pkg/b.py", "pkg/deep/c.py", "pkg/x.csv"]),
        ({".vertexignore": "/a.py\n# pkg\n\npkg/deep/\n"}, ["big.csv", "pkg/b.py", "pkg/x.csv"]),
        ({".vertexignore": "pkg/\n!pkg/b.py\n"}, ["a.py", "big.csv"]),
        ({".vertexignore": "**/deep\n"}, ["a.py", "big.csv", "pkg/b.py", "pkg/x.csv"]),
        ({"pkg/.vertexignore": "/x.csv\ndeep\n"}, ["a.py", "big.csv", "pkg/b.py"]),
        ({".vertexignore": "*.csv\n", "pkg/.vertexignore": "!x.csv\n"},
         ["a.py", "pkg/b.py", "pkg/deep/c.py", "pkg/x.csv"]),
    ],
)  # fmt: skip
def test_ignore_file(tmp_path: Path, ignore: Mapping[str, str], kept: list[str]) -> None:
    lay(tmp_path, {"a.py": "", "big.csv": "", "pkg/b.py": "", "pkg/x.csv": "", "pkg/deep/c.py": "", **ignore})
    assert names(tmp_path) == kept


def test_ignore_file_of_the_folder_holds_for_named_paths(tmp_path: Path) -> None:
    lay(tmp_path, {".vertexignore": "src/*.csv\n", "src/a.py": "", "src/a.csv": ""})
    assert names(tmp_path, "src") == ["a.py"]
    lay(tmp_path, {".vertexignore": "src\n"})
    assert "code_paths[0]: found 'src'" in refusal(tmp_path, "src")


@pytest.mark.parametrize("content", [b"!\n", b"\xff\xfe\n"])
def test_ignore_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    lay(tmp_path, {"a.py": "", ".vertexignore": content})
    assert ".vertexignore" in refusal(tmp_path)


PROJECT = {
    "dag.py": "", "helper.py": "", "pkg/__init__.py": "", "pkg/sub/__init__.py": "", "pkg/sub/mod.py": "",
    "pkg/other.py": "", "src/lib/__init__.py": "", "src/tool.py": "", "data/rows.csv": "", "__init__.py": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "packed"),
    [
        (["pkg"], ["pkg/__init__.py", "pkg/other.py", "pkg/sub/__init__.py", "pkg/sub/mod.py"]),
        (["src"], ["lib/__init__.py", "tool.py"]),
        (["src/lib"], ["lib/__init__.py"]),
        (["helper.py"], ["helper.py"]),
        (["data/rows.csv"], ["rows.csv"]),
        (["pkg/sub"], ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/mod.py"]),
        (["pkg/other.py"], ["pkg/__init__.py", "pkg/other.py"]),
        (["src", "helper.py"], ["helper.py", "lib/__init__.py", "tool.py"]),
        (["pkg", "pkg/sub"], ["pkg/__init__.py", "pkg/other.py", "pkg/sub/__init__.py", "pkg/sub/mod.py"]),
        (["."], sorted(PROJECT)),
        (["../project/helper.py"], ["helper.py"]),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_paths(tmp_path: Path, paths: list[str], packed: list[str], absolute: bool) -> None:
    folder = lay(tmp_path / "project", PROJECT)
    assert names(folder, *(str(folder / path) if absolute else path for path in paths)) == packed


def test_paths_outside_the_folder(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {"dags/dag.py": "", "lib/acme/__init__.py": "", "lib/acme/ml/__init__.py": "", "lib/x.py": ""},
    )
    dags = tmp_path / "dags"
    assert names(dags, "../lib/acme/ml") == ["acme/__init__.py", "acme/ml/__init__.py"]
    assert names(dags, str(tmp_path / "lib")) == ["acme/__init__.py", "acme/ml/__init__.py", "x.py"]


def test_what_is_wrong_with_paths_is_told_at_once(tmp_path: Path) -> None:
    lay(tmp_path, {"a/x.py": "1", "b/x.py": "2", "empty/.keep": ""})
    message = refusal(tmp_path, "a", "b", "nowhere", "empty")
    assert f"two files that would both be x.py: {tmp_path}/a/x.py and {tmp_path}/b/x.py" in message
    assert "code_paths[2]: found 'nowhere'" in message
    assert "code_paths[3]: found 'empty'" in message
    assert [field for field, _, _ in missing_paths(tmp_path, ["a", "nowhere"])] == ["code_paths[1]"]


def test_nothing_to_pack(tmp_path: Path) -> None:
    assert "no file that may be packed" in refusal(lay(tmp_path, {".env": ""}))


class TestLinks:
    def test_inside_are_followed(self, tmp_path: Path) -> None:
        lay(tmp_path, {"lib/a.py": "", "b.py": ""})
        (tmp_path / "c.py").symlink_to("b.py")
        (tmp_path / "again").symlink_to("lib", target_is_directory=True)
        assert names(tmp_path) == ["again/a.py", "b.py", "c.py", "lib/a.py"]

    def test_hidden_checkout_behind_a_link(self, tmp_path: Path) -> None:
        """As git-sync lays a DAG folder out."""
        lay(tmp_path, {".worktrees/0123abc/dag.py": "", ".git/config": ""})
        (tmp_path / "repo").symlink_to(".worktrees/0123abc", target_is_directory=True)
        (tmp_path / "git").symlink_to(".git", target_is_directory=True)
        assert names(tmp_path) == ["repo/dag.py"]
        assert names(tmp_path / "repo") == ["dag.py"]

    @pytest.mark.parametrize("target", ["../outside.py", "/etc/hostname", "../out", "nowhere.py"])
    def test_leading_out_or_nowhere(self, tmp_path: Path, target: str) -> None:
        lay(tmp_path, {"outside.py": "", "out/a.py": "", "dags/ok.py": ""})
        (tmp_path / "dags/link").symlink_to(target)
        message = refusal(tmp_path / "dags")
        assert f"{tmp_path}/dags/link" in message
        assert ".vertexignore" in message

    def test_loop(self, tmp_path: Path) -> None:
        lay(tmp_path, {"pkg/a.py": ""})
        (tmp_path / "pkg/up").symlink_to("..", target_is_directory=True)
        assert "a link to a folder it lies in" in refusal(tmp_path)


def test_no_regular_file(tmp_path: Path) -> None:
    lay(tmp_path, {"a.py": ""})
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(tmp_path)


def test_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.py").write_bytes(b"")
    assert "UTF-8" in refusal(tmp_path)


def test_too_much(tmp_path: Path) -> None:
    lay(tmp_path, {"a.py": "", **{f"small{number}.txt": "x" for number in range(9)}})
    for name, size in {"model.bin": 30 << 20, "rows.csv": 3 << 20}.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    message = refusal(tmp_path)
    assert (
        "33.0 MiB in 12 files, the largest: model.bin (30.0 MiB), rows.csv (3.0 MiB), small0.txt" in message
    )
    assert "at most 32.0 MiB" in message
    assert "small3" not in message
    lay(tmp_path, {".vertexignore": "*.csv"})
    assert len(pack(tmp_path).data) > 30 << 20


def test_folders_that_imports_are_looked_up_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, {"team/a.py": "", "b.py": "", "none/.keep": ""})
    extra = [str(tmp_path / "team"), str(tmp_path), str(tmp_path / "none"), str(tmp_path.parent)]
    monkeypatch.setattr(sys, "path", [*extra, *sys.path])
    assert pack(tmp_path).roots == ("team", "")
    assert pack(tmp_path, ["team"]).roots == ("",)
    monkeypatch.setattr(sys, "path", sys.path[2:])
    assert pack(tmp_path).roots == ("",)


def test_documented_names(tmp_path: Path) -> None:
    """The list in docs/code.md is the one that is used."""
    text = (Path(bundle.__file__).parents[2] / "docs" / "code.md").read_text()
    assert [name for name in bundle.SECRET_NAMES if f"`{name}`" not in text] == []
