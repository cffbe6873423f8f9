package lake

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/warehouse"
)

// record is a row as the files have it. Times are in microseconds, which every reader
// knows; *_nanos hold what is left below, so that nothing is lost.
type record struct {
	Topic           string `parquet:"topic,dict"`
	Partition       int32  `parquet:"partition"`
	Offset          int64  `parquet:"offset,delta"`
	LogTime         int64  `parquet:"log_time,timestamp(microsecond)"`
	Key             []byte `parquet:"key"`
	ID              string `parquet:"id"`
	Type            string `parquet:"type,dict"`
	Time            int64  `parquet:"time,timestamp(microsecond)"`
	TimeNanos       int32  `parquet:"time_nanos"`
	ClientTime      *int64 `parquet:"client_time,optional,timestamp(microsecond)"`
	ClientTimeNanos int32  `parquet:"client_time_nanos"`
	UserID          string `parquet:"user_id,dict"`
	ActorID         string `parquet:"actor_id,dict"`
	DeviceID        string `parquet:"device_id,dict"`
	SessionID       string `parquet:"session_id,dict"`
	TraceID         string `parquet:"trace_id"`
	Subject         string `parquet:"subject,dict"`
	Revision        uint64 `parquet:"revision"`
	SchemaVersion   uint32 `parquet:"schema_version"`
	Personal        []byte `parquet:"personal"`
	PersonalKeyID   string `parquet:"personal_key_id,dict"`
	PayloadType     string `parquet:"payload_type,dict"` // empty: payload is a record that is no event
	Payload         []byte `parquet:"payload"`
	PayloadJSON     string `parquet:"payload_json"`
	Unknown         []byte `parquet:"unknown"` // fields of the envelope that this version does not know
}

func toRecord(r *warehouse.Row) record {
	rec := record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LogTime: r.LogTime.UnixMicro(), Key: r.Key, PayloadJSON: r.PayloadJSON,
		Time: r.LogTime.UnixMicro(),
	}
	e := r.Envelope
	if e == nil {
		rec.Payload = r.Raw
		return rec
	}
	rec.ID, rec.Type = e.GetId(), e.GetType()
	rec.Time, rec.TimeNanos = split(e.GetTime())
	if c := e.GetClientTime(); c != nil && c.CheckValid() == nil {
		micros, nanos := split(c)
		rec.ClientTime, rec.ClientTimeNanos = &micros, nanos
	}
	rec.UserID, rec.ActorID, rec.DeviceID, rec.SessionID = e.GetUserId(), e.GetActorId(), e.GetDeviceId(), e.GetSessionId()
	rec.TraceID, rec.Subject, rec.Revision, rec.SchemaVersion = e.GetTraceId(), e.GetSubject(), e.GetRevision(), e.GetSchemaVersion()
	rec.Personal, rec.PersonalKeyID = e.GetPersonal(), e.GetPersonalKeyId()
	rec.PayloadType, rec.Payload = e.GetPayload().GetTypeUrl(), e.GetPayload().GetValue()
	if rec.PayloadType == "" {
		rec.PayloadType = "/" // an event nevertheless
	}
	rec.Unknown = e.ProtoReflect().GetUnknown()
	return rec
}

func (rec *record) row() (warehouse.Row, error) {
	r := warehouse.Row{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, LogTime: time.UnixMicro(rec.LogTime).UTC(), Key: rec.Key,
		PayloadJSON: rec.PayloadJSON,
	}
	if rec.PayloadType == "" {
		r.Raw = rec.Payload
		return r, nil
	}
	url := rec.PayloadType
	if url == "/" {
		url = ""
	}
	e := &eventv1.Envelope{
		Id: rec.ID, Type: rec.Type, Time: join(rec.Time, rec.TimeNanos), UserId: rec.UserID, ActorId: rec.ActorID, DeviceId: rec.DeviceID,
		SessionId: rec.SessionID, TraceId: rec.TraceID, SchemaVersion: rec.SchemaVersion, Subject: rec.Subject, Revision: rec.Revision,
		Personal: orNil(rec.Personal), PersonalKeyId: rec.PersonalKeyID, Payload: &anypb.Any{TypeUrl: url, Value: orNil(rec.Payload)},
	}
	if rec.ClientTime != nil {
		e.ClientTime = join(*rec.ClientTime, rec.ClientTimeNanos)
	}
	if len(rec.Unknown) > 0 {
		e.ProtoReflect().SetUnknown(rec.Unknown)
	}
	if err := e.GetTime().CheckValid(); err != nil {
		return r, fmt.Errorf("%w: offset %d: %w", warehouse.ErrCorrupt, rec.Offset, err)
	}
	r.Envelope = e
	return r, nil
}

func split(t *timestamppb.Timestamp) (micros int64, nanos int32) {
	return t.GetSeconds()*1e6 + int64(t.GetNanos()/1000), t.GetNanos() % 1000
}

func join(micros int64, nanos int32) *timestamppb.Timestamp {
	t := timestamppb.New(time.UnixMicro(micros))
	t.Nanos += nanos
	return t
}

// orNil makes no bytes nil, as protobuf has them.
func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
