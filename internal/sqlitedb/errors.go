package sqlitedb

import (
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/segue-music/segue/internal/fault"
)

// Codes are SQLite's extended result codes (sqlite.org/rescode.html); the low byte is
// the primary code.

// IsUnique says that a row with the same key exists (UNIQUE, PRIMARY KEY or rowid).
func IsUnique(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return false
}

// IsForeignKey says that a referenced row does not exist, or is still referenced.
func IsForeignKey(err error) bool { return code(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY }

// IsConstraint says that any constraint refused the change.
func IsConstraint(err error) bool { return code(err)&0xff == sqlite3.SQLITE_CONSTRAINT }

// IsFull says that the disk, or the file's size limit, is full.
func IsFull(err error) bool { return code(err)&0xff == sqlite3.SQLITE_FULL }

// diskFull gives an error of a full disk its kind. SQLite says so of a write; where it is
// the log's index that finds no space it says no more than that it could not grow.
func diskFull(err error) error {
	if err == nil || fault.KindOf(err) != 0 {
		return err
	}
	if IsFull(err) || code(err) == sqlite3.SQLITE_IOERR_SHMSIZE {
		return fault.ErrDiskFull.Because(err)
	}
	return fault.Disk(err)
}

// IsReadOnly says that a change was tried through a reader.
func IsReadOnly(err error) bool { return code(err)&0xff == sqlite3.SQLITE_READONLY }

func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
