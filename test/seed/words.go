package seed

import (
	"math/rand/v2"
	"strings"
)

// words are what names and titles of one script are made of.
type words struct {
	given, family []string
	adjectives    []string
	nouns         []string
	join          string // between words
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// name of an artist: a person or a band.
func (w words) name(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return pick(r, w.given) + w.join + pick(r, w.family)
	}
	return pick(r, w.adjectives) + w.join + pick(r, w.nouns)
}

func (w words) title(r *rand.Rand) string {
	parts := []string{pick(r, w.nouns)}
	switch r.IntN(4) {
	case 0:
		parts = append([]string{pick(r, w.adjectives)}, parts...)
	case 1:
		parts = append(parts, pick(r, w.nouns))
	case 2:
		parts = []string{pick(r, w.adjectives), parts[0], pick(r, w.nouns)}
	}
	return strings.Join(parts, w.join)
}

//nolint:gochecknoglobals // constant tables
var (
	genres   = []string{"Rock", "Pop", "Jazz", "Electronic", "Hip-Hop", "Classical", "Folk", "Metal", "Ambient", "Soul", "Reggae", "Samba", "Enka", "Rebetiko"}
	labels   = []string{"Northern Lines", "Blue Harbour", "Kestrel", "Ohrwurm Tonträger", "さくらレコード", "Мелодия Севера", "Discos del Sur", "Tape & Twine"}
	editions = []string{" (Deluxe Edition)", " (Remastered)", " (Live)", " [Bonus Tracks]", " – EP"}
	versions = []string{" (Live)", " (Acoustic)", " (Radio Edit)", " - Remastered 2011", " (Interlude)", " (Demo)"}

	// scripts: the first is that of most artists.
	scripts = []words{
		{
			strings.Fields("Ada Beth Carlo Dara Edith Fenn Gwen Hugo Ines Jonas Kit Lena Milo Nora Otto Petra Quinn Rosa Sam Thea Umar Vera Wes Yara Zoë Björn Łucja Chloé Anaïs José"),
			strings.Fields("Abbott Brandt Castellan Doyle Ekström Ferreira Grant Hollis Iversen Jansen Kowalska Laurent Müller Novák O'Neill Park Quiroga Ruiz Sato Tran Underwood Vidal Wolff Young Zamora Ødegård"),
			strings.Fields("Silver Midnight Broken Golden Distant Electric Paper Hollow Crimson Slow Northern Salt Quiet Burning Wild Velvet Last Empty Pale Secret Summer Winter Neon Blue Tender Lost Restless Bright"),
			strings.Fields("River Signal Garden Static Harbour Lantern Mirror Engine Orchard Satellite Letter Highway Ghost Window Tide Machine Chapel Wolf Ocean Avenue Thunder Ember Atlas Sparrow Motel Horizon Diamond Carousel Shadow Island"),
			" ",
		},
		{
			strings.Fields("美咲 健太 さくら 拓海 陽菜 翔 結衣 大輔 葵 直樹"), strings.Fields("佐藤 鈴木 高橋 田中 渡辺 伊藤 山本 中村 小林 加藤"),
			strings.Fields("青い 静かな 夜の 遠い 冬の 白い 最後の 見えない"), strings.Fields("空 海 星 手紙 街 雨 花火 約束 夢 電車 風 月"), "",
		},
		{
			strings.Fields("Анна Борис Вера Глеб Дарья Егор Жанна Иван Ксения Лев"), strings.Fields("Волков Морозова Соколов Лебедева Орлов Зимина Громов Ясная"),
			strings.Fields("Белая Синяя Ночная Тихая Последняя Зимняя Далёкая Забытая"), strings.Fields("ночь река звезда весна дорога птица песня гроза волна тень"), " ",
		},
		{
			strings.Fields("Ελένη Νίκος Μαρία Γιώργος Σοφία Πέτρος"), strings.Fields("Παπαδάκης Νικολάου Βασιλείου Δημητρίου Αλεξίου"),
			strings.Fields("Μικρή Χαμένη Κρυφή Παλιά Ασημένια"), strings.Fields("θάλασσα βροχή αγάπη νύχτα σκιά γειτονιά"), " ",
		},
		{
			strings.Fields("ليلى عمر نور سمير هدى كريم"), strings.Fields("حداد منصور خليل شاهين عزيز"),
			strings.Fields("بعيدة جديدة قديمة هادئة"), strings.Fields("ليلة مدينة نجمة رسالة أغنية ريح"), " ",
		},
		{
			strings.Fields("지민 서연 민준 하은 도윤 수아"), strings.Fields("김 이 박 최 정 강"),
			strings.Fields("푸른 조용한 마지막 하얀 먼"), strings.Fields("밤 바다 별 편지 거리 봄비 꿈"), " ",
		},
		{
			strings.Fields("आशा किशोर लता मोहन गीता राज"), strings.Fields("शर्मा वर्मा गुप्ता सिंह राव"),
			strings.Fields("नीला सुहाना पुराना आख़िरी"), strings.Fields("सफ़र सपना चाँद बारिश रास्ता दिल"), " ",
		},
	}
)
