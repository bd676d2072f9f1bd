"""Certificates of the tests' own, made by openssl."""
import os
import subprocess


class Authority:
    """A certificate authority in a folder of its own; `path`: what those who trust it are told."""

    def __init__(self, folder, name="ca"):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.name = folder, name
        self.path, self._key = self._file(name + ".pem"), self._file(name + ".key")
        self._openssl("req", "-x509", *self._new_key(self._key), "-out", self.path, "-days", "2", "-subj", f"/CN={name} of a test")

    def _file(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def _new_key(path):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr

    def certify(self, subject):
        """(certificate, key) of a server; `subject` as in subjectAltName: IP:127.0.0.1, DNS:localhost."""
        stem = f"{self.name}-{subject.replace(':', '-')}"
        certificate, key, asked, names = (self._file(f"{stem}.{suffix}") for suffix in ("pem", "key", "csr", "names"))
        self._openssl("req", *self._new_key(key), "-out", asked, "-subj", "/CN=a server of a test")
        with open(names, "w") as file:
            file.write(f"subjectAltName={subject}\n")
        self._openssl("x509", "-req", "-in", asked, "-CA", self.path, "-CAkey", self._key, "-CAcreateserial", "-days", "2", "-extfile", names,
                      "-out", certificate)
        return certificate, key
