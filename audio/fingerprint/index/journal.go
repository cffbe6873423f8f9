package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/segue-music/segue/audio/fingerprint"
)

// journal has what came since the last segment was written: the length of a record, its CRC-32C, and the record, which is
// an id to remove, or an id and items to insert.
type journal struct {
	file *os.File
	size int64
}

const (
	recordHead = 8
	minRecord  = uint32(idSize)
	maxRecord  = minRecord + 4*MaxItems
)

func (j *journal) insert(id ID, fp fingerprint.Fingerprint) error {
	record := append(make([]byte, recordHead), id[:]...)
	for _, v := range fp {
		record = binary.LittleEndian.AppendUint32(record, v)
	}
	return j.append(record)
}

func (j *journal) remove(id ID) error { return j.append(append(make([]byte, recordHead), id[:]...)) }

// append writes a record whole or, where it fails, not at all: what a failed write left is cut off.
func (j *journal) append(record []byte) error {
	binary.LittleEndian.PutUint32(record, uint32(len(record)-recordHead))
	binary.LittleEndian.PutUint32(record[4:], crc32.Checksum(record[recordHead:], castagnoli))
	if _, err := j.file.WriteAt(record, j.size); err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(record))
	return nil
}

// replay calls each with the records of a journal: with no items where the id is removed. It ends at the first record that
// is not whole, as a crash may leave it, and cuts the file there.
func (j *journal) replay(each func(id ID, fp fingerprint.Fingerprint) error) error {
	in := bufio.NewReaderSize(j.file, 1<<20)
	head := make([]byte, recordHead)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			break
		}
		n := binary.LittleEndian.Uint32(head)
		if n < minRecord || n > maxRecord || (n-minRecord)%4 != 0 {
			break
		}
		record := make([]byte, n)
		if _, err := io.ReadFull(in, record); err != nil {
			if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			break
		}
		if crc32.Checksum(record, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
			break
		}
		fp := make(fingerprint.Fingerprint, (int(n)-idSize)/4)
		for i := range fp {
			fp[i] = binary.LittleEndian.Uint32(record[idSize+4*i:])
		}
		if err := each(ID(record[:idSize]), fp); err != nil {
			return err
		}
		j.size += recordHead + int64(n)
	}
	return j.file.Truncate(j.size)
}
