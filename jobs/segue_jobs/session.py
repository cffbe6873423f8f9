"""Starts Spark and reaches the files of a job, wherever they are."""

from __future__ import annotations

import os
import sys
from typing import Any

import pyspark
from pyspark.sql import SparkSession


def start(name: str, endpoint: str = "", more: dict[str, str] | None = None) -> SparkSession:
    """A session that counts in UTC. endpoint is an S3 server beside Amazon's, addressed in path style.

    The credentials of S3 are those of the environment, or of the machine. SEGUE_SPARK_JARS is a folder of the
    connectors, SEGUE_SPARK_MASTER where to run; without them they are spark-submit's.
    """
    b = SparkSession.builder.appName(name)
    if master := os.environ.get("SEGUE_SPARK_MASTER"):
        # A driver that runs all by itself: nobody else has to find it.
        b = b.master(master).config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
        b = b.config("spark.ui.enabled", "false").config("spark.driver.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if jars := os.environ.get("SEGUE_SPARK_JARS"):
        # Behind Spark's own: the bundle of Amazon's has an older slf4j, which would swallow the log.
        own = os.path.join(os.path.dirname(pyspark.__file__), "jars", "*")
        b = b.config("spark.driver.extraClassPath", own + os.pathsep + os.path.join(jars, "*"))
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.showConsoleProgress": "false",
        # Microseconds as everybody writes them, not Spark's own kind of 96 bits.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # Files are moved once and not twice, and S3 is asked as little as can be: what is half written counts
        # for nobody, since readers go by manifests.
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        "spark.hadoop.fs.s3a.performance.flags": "create,delete,mkdir",
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.hadoop.fs.s3a.path.style.access": "true" if endpoint else "false",
        "spark.hadoop.fs.AbstractFileSystem.s3a.impl": "org.apache.hadoop.fs.s3a.S3A",
        **(more or {}),
    }
    if endpoint:
        settings["spark.hadoop.fs.s3a.endpoint"] = endpoint
        settings["spark.hadoop.fs.s3a.endpoint.region"] = os.environ.get("AWS_REGION", "us-east-1")
        settings["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(endpoint.startswith("https:")).lower()
    for key, value in settings.items():
        b = b.config(key, value)
    spark = b.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


class Files:
    """The files below a root, by the file systems that Spark knows: s3a://bucket/folder, file:///folder."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.root = root.rstrip("/")
        self._jvm: Any = spark._jvm
        conf = spark._jsc.hadoopConfiguration()
        self._fs: Any = self._path("").getFileSystem(conf)

    def _path(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self.root}/{name}" if name else self.root)

    def url(self, name: str) -> str:
        return f"{self.root}/{name}"

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where there is no folder."""
        try:
            return sorted(s.getPath().getName() for s in self._fs.listStatus(self._path(folder)))
        except Exception as e:
            if "FileNotFoundException" in str(e):
                return []
            raise

    def walk(self, folder: str) -> list[str]:
        """All files below a folder, each by its name below the root."""
        found: list[str] = []
        base = self._path("").toUri().getPath().rstrip("/") + "/"
        try:
            files = self._fs.listFiles(self._path(folder), True)
            while files.hasNext():
                found.append(files.next().getPath().toUri().getPath().removeprefix(base))
        except Exception as e:
            if "FileNotFoundException" not in str(e):
                raise
        return found

    def read(self, name: str) -> bytes:
        stream = self._fs.open(self._path(name))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def write(self, name: str, data: bytes) -> None:
        """Puts a file as a whole: an object store shows it when it is closed, a disk when it is renamed."""
        if not self.root.startswith("file:"):
            out = self._fs.create(self._path(name), True)
            try:
                out.write(bytearray(data))
            finally:
                out.close()
            return
        path = self._path(name).toUri().getPath()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(path + ".new", path)

    def remove(self, folder: str) -> None:
        self._fs.delete(self._path(folder), True)
