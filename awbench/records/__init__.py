"""One measurement is one immutable file: schema, environment fingerprint, atomic store."""

from awbench.records.record import BrokenRecordError, Quantity, Record, measurement_key
from awbench.records.store import Records, RecordStore

__all__ = ["BrokenRecordError", "Quantity", "Record", "RecordStore", "Records", "measurement_key"]
