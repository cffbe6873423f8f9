package metadata_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

const (
	mbA = "11111111-1111-4111-8111-111111111111"
	mbB = "22222222-2222-4222-8222-222222222222"
)

type tags = metadatav1.FileTags

func list(s ...string) []string { return s }

// TestIngest_Matching: each case is a fault that people reported of music servers. The
// files are put in order and once more in reverse order into another catalogue, since a
// folder is read by several workers; cases where the order decides say so.
func TestIngest_Matching(t *testing.T) {
	tests := []struct {
		name    string
		files   []*tags
		albums  []string
		artists []string
		ordered bool
	}{
		{
			name: "a_slash_splits_no_name",
			files: []*tags{
				{Title: "T.N.T.", Artists: list("AC/DC"), Album: "High Voltage", Number: 1},
				{Title: "Live Wire", Artists: list("AC/DC"), Album: "High Voltage", Number: 2},
			},
			albums: list("AC/DC: High Voltage ×2"), artists: list("AC/DC"),
		},
		{
			name: "an_ampersand_splits_no_name",
			files: []*tags{
				{Title: "Bookends", Artists: list("Simon & Garfunkel"), Album: "Bookends"},
				{Title: "Duncan", Artists: list("Paul Simon"), Album: "Paul Simon"},
				{Title: "September", Artists: list("Earth, Wind & Fire"), Album: "The Best Of"},
			},
			albums:  list("Earth, Wind & Fire: The Best Of ×1", "Simon & Garfunkel: Bookends ×1", "Paul Simon: Paul Simon ×1"),
			artists: list("Earth, Wind & Fire", "Paul Simon", "Simon & Garfunkel"),
		},
		{
			name: "letter_case_makes_no_second_artist",
			files: []*tags{
				{Title: "A", Artists: list("Daft Punk"), Album: "Discovery", Number: 1},
				{Title: "B", Artists: list("daft punk"), Album: "DISCOVERY", Number: 2},
				{Title: "C", Artists: list("Daft  Punk "), Album: "Discovery ", Number: 3},
			},
			albums: list("Daft Punk: Discovery ×3"), artists: list("Daft Punk"),
		},
		{
			name: "unicode_forms_and_quotes_make_no_second_artist",
			files: []*tags{
				{Title: "A", Artists: list("Björk"), Album: "Post", Number: 1},
				{Title: "B", Artists: list("Bjo\u0308rk"), Album: "Post", Number: 2},
				{Title: "C", Artists: list("Guns N' Roses"), Album: "Spaghetti"},
				{Title: "D", Artists: list("Guns N’ Roses"), Album: "Spaghetti"},
				{Title: "E", Artists: list("Guns N' Roses"), Album: "Spaghetti"},
				{Title: "F", Artists: list("ＢＯＡ"), Album: "ＢＯＡ"},
				{Title: "G", Artists: list("BOA"), Album: "BOA"},
				{Title: "H", Artists: list("BOA"), Album: "BOA"},
			},
			albums:  list("BOA: BOA ×3", "Björk: Post ×2", "Guns N' Roses: Spaghetti ×3"),
			artists: list("Björk", "BOA", "Guns N' Roses"),
		},
		{
			name: "letters_that_differ_stay_two_artists",
			files: []*tags{
				{Title: "A", Artists: list("Bjork"), Album: "X"}, {Title: "B", Artists: list("Björk"), Album: "X"},
				{Title: "C", Artists: list("The The"), Album: "X"}, {Title: "D", Artists: list("The"), Album: "X"},
			},
			albums:  list("Bjork: X ×1", "Björk: X ×1", "The: X ×1", "The The: X ×1"),
			artists: list("Bjork", "Björk", "The", "The The"),
		},
		{
			name: "one_year_does_not_cut_an_album_in_two",
			files: []*tags{
				{Title: "A", Artists: list("Blur"), AlbumArtists: list("Blur"), Album: "13", Number: 1, Date: "1999"},
				{Title: "B", Artists: list("Blur"), AlbumArtists: list("Blur"), Album: "13", Number: 2, Date: "2012-07-30"},
				{Title: "C", Artists: list("Blur"), AlbumArtists: list("Blur"), Album: "13", Number: 3, Date: "1999-03-15"},
			},
			albums: list("Blur: 13 ×3 1999-03-15"), artists: list("Blur"),
		},
		{
			name: "of_two_years_the_earlier",
			files: []*tags{
				{Title: "A", Artists: list("Blur"), Album: "13", Number: 1, Date: "2012"},
				{Title: "B", Artists: list("Blur"), Album: "13", Number: 2, Date: "1999"},
			},
			albums: list("Blur: 13 ×2 1999"), artists: list("Blur"),
		},
		{
			name: "dates_that_are_none",
			files: []*tags{
				{Title: "A", Artists: list("Blur"), Album: "13", Number: 1, Date: "0000"},
				{Title: "B", Artists: list("Blur"), Album: "13", Number: 2, Date: "1999-00-00"},
				{Title: "C", Artists: list("Blur"), Album: "13", Number: 3, Date: "yesterday"},
			},
			albums: list("Blur: 13 ×3 1999"), artists: list("Blur"),
		},
		{
			name: "compilation_by_album_artist",
			files: []*tags{
				{Title: "A", Artists: list("Can"), AlbumArtists: list("Various Artists"), Album: "Krautrock", Number: 1},
				{Title: "B", Artists: list("Neu!"), AlbumArtists: list("VA"), Album: "Krautrock", Number: 2},
				{Title: "C", Artists: list("Faust"), AlbumArtists: list("various"), Album: "Krautrock", Number: 3},
			},
			albums: list("Various Artists: Krautrock ×3"), artists: list("Can", "Faust", "Neu!", "Various Artists"),
		},
		{
			name: "compilation_by_flag",
			files: []*tags{
				{Title: "A", Artists: list("Can"), Compilation: true, Album: "Krautrock", Number: 1, FolderKey: "f1"},
				{Title: "B", Artists: list("Neu!"), Compilation: true, Album: "Krautrock", Number: 2, FolderKey: "f2"},
			},
			albums: list("Various Artists: Krautrock ×2"), artists: list("Can", "Neu!", "Various Artists"),
		},
		{
			name: "compilation_by_folder",
			files: []*tags{
				{Title: "A", Artists: list("Can"), Album: "Krautrock", Number: 1, FolderKey: "f"},
				{Title: "B", Artists: list("Neu!"), Album: "Krautrock", Number: 2, FolderKey: "f"},
				{Title: "C", Artists: list("Faust"), Album: "Krautrock", Number: 3, FolderKey: "f"},
				{Title: "D", Artists: list("Can"), Album: "Krautrock", Number: 4, FolderKey: "f"},
			},
			albums: list("Various Artists: Krautrock ×4"), artists: list("Can", "Faust", "Neu!"),
		},
		{
			name: "a_guest_makes_no_compilation",
			files: []*tags{
				{Title: "A", Artists: list("Gorillaz"), Album: "Demon Days", Number: 1, FolderKey: "f"},
				{Title: "B", Artists: list("Gorillaz"), Featured: list("De La Soul"), Album: "Demon Days", Number: 2, FolderKey: "f"},
				{Title: "C", Artists: list("Gorillaz feat. MF DOOM"), Album: "Demon Days", Number: 3, FolderKey: "f"},
				{Title: "D", Artists: list("Gorillaz", "Shaun Ryder"), Album: "Demon Days", Number: 4, FolderKey: "f"},
			},
			albums: list("Gorillaz: Demon Days ×4"), artists: list("De La Soul", "Gorillaz", "MF DOOM", "Shaun Ryder"),
		},
		{
			name: "same_title_by_two_artists_stays_two_albums",
			files: []*tags{
				{Title: "A", Artists: list("Queen"), AlbumArtists: list("Queen"), Album: "Greatest Hits", Number: 1, FolderKey: "f"},
				{Title: "B", Artists: list("ABBA"), AlbumArtists: list("ABBA"), Album: "Greatest Hits", Number: 1, FolderKey: "f"},
				{Title: "C", Artists: list("Blondie"), Album: "Greatest Hits", Number: 1},
				{Title: "D", Artists: list("Eagles"), Album: "Greatest Hits", Number: 1},
			},
			albums:  list("ABBA: Greatest Hits ×1", "Blondie: Greatest Hits ×1", "Eagles: Greatest Hits ×1", "Queen: Greatest Hits ×1"),
			artists: list("ABBA", "Blondie", "Eagles", "Queen"),
		},
		{
			name: "same_title_in_one_flat_folder_without_album_artist",
			files: []*tags{
				{Title: "A1", Artists: list("Queen"), Album: "Live", Number: 1, FolderKey: "f"},
				{Title: "A2", Artists: list("Queen"), Album: "Live", Number: 2, FolderKey: "f"},
				{Title: "B1", Artists: list("ABBA"), Album: "Live", Number: 1, FolderKey: "f"},
				{Title: "B2", Artists: list("ABBA"), Album: "Live", Number: 2, FolderKey: "f"},
			},
			albums: list("ABBA: Live ×2", "Queen: Live ×2"), artists: list("ABBA", "Queen"),
		},
		{
			name: "own_album_named_as_a_compilation_the_artist_is_on",
			files: []*tags{
				{Title: "A", Artists: list("Can"), Album: "Krautrock", Number: 1, FolderKey: "f"},
				{Title: "B", Artists: list("Neu!"), Album: "Krautrock", Number: 2, FolderKey: "f"},
				{Title: "C", Artists: list("Can"), Album: "Krautrock", Number: 5},
				{Title: "D", Artists: list("Can"), Album: "Krautrock", Number: 6},
			},
			albums: list("Can: Krautrock ×2", "Various Artists: Krautrock ×2"), artists: list("Can", "Neu!"),
		},
		{
			name: "self_titled",
			files: []*tags{
				{Title: "Metallica", Artists: list("Metallica"), Album: "Metallica"},
				{Title: "Weezer", Artists: list("Weezer"), Album: "Weezer"},
			},
			albums: list("Metallica: Metallica ×1", "Weezer: Weezer ×1"), artists: list("Metallica", "Weezer"),
		},
		{
			name: "discs_by_number",
			files: []*tags{
				{Title: "A", Artists: list("Tool"), AlbumArtists: list("Tool"), Album: "Set", Disc: 1, Number: 1, FolderKey: "f1"},
				{Title: "B", Artists: list("Tool"), AlbumArtists: list("Tool"), Album: "Set", Disc: 2, Number: 1, FolderKey: "f2"},
			},
			albums: list("Tool: Set ×2"), artists: list("Tool"),
		},
		{
			name: "discs_in_folders_without_album_artist",
			files: []*tags{
				{Title: "A", Artists: list("Tool"), Album: "Set", Disc: 1, Number: 1, FolderKey: "f1"},
				{Title: "B", Artists: list("Tool"), Album: "Set", Disc: 2, Number: 1, FolderKey: "f2"},
			},
			albums: list("Tool: Set ×2"), artists: list("Tool"),
		},
		{
			name: "discs_in_the_title",
			files: []*tags{
				{Title: "A", Artists: list("Tool"), AlbumArtists: list("Tool"), Album: "Set (Disc 1)", Number: 1},
				{Title: "B", Artists: list("Tool"), AlbumArtists: list("Tool"), Album: "Set [CD2]", Number: 1},
				{Title: "C", Artists: list("Tool"), AlbumArtists: list("Tool"), Album: "Set, Disc 3", Disc: 1, DiscTotal: 1, Number: 1},
				{Title: "D", Artists: list("Tool"), AlbumArtists: list("Tool"), Album: "Set (CD 4: The Rest)", Disc: 4, Number: 1},
				{Title: "E", Artists: list("Tool"), AlbumArtists: list("Tool"), Album: "Set", Disc: 5, Number: 1},
			},
			albums: list("Tool: Set ×5"), artists: list("Tool"),
		},
		{
			name: "disc_in_the_title_that_is_no_disc",
			files: []*tags{
				{Title: "A", Artists: list("X"), Album: "Music for CD 2", Disc: 1, Number: 1},
				{Title: "B", Artists: list("X"), Album: "Set (Disc 2)", Disc: 3, DiscTotal: 3, Number: 1},
				{Title: "C", Artists: list("X"), Album: "Disc 1", Number: 1},
			},
			albums: list("X: Disc 1 ×1", "X: Music for CD 2 ×1", "X: Set (Disc 2) ×1"), artists: list("X"),
		},
		{
			name: "no_tags_at_all",
			files: []*tags{
				{FolderKey: "f1"}, {FolderKey: "f1"}, {FolderKey: "f2"}, {},
			},
			albums:  list("Unknown artist: Unknown album ×1", "Unknown artist: Unknown album ×1", "Unknown artist: Unknown album ×2"),
			artists: list("Unknown artist"),
		},
		{
			name: "loose_files_of_several_artists",
			files: []*tags{
				{Title: "A", Artists: list("Can"), FolderKey: "f"}, {Title: "B", Artists: list("Neu!"), FolderKey: "f"},
				{Title: "C", Artists: list("Can")}, {Title: "D", Artists: list("Neu!")},
			},
			albums:  list("Can: Unknown album ×1", "Neu!: Unknown album ×1", "Various Artists: Unknown album ×2"),
			artists: list("Can", "Neu!"),
		},
		{
			name:   "album_artist_stands_in_for_the_artist",
			files:  []*tags{{Title: "A", AlbumArtists: list("Can"), Album: "Tago Mago"}},
			albums: list("Can: Tago Mago ×1"), artists: list("Can"),
		},
		{
			name: "half_of_the_folder_has_an_album_artist",
			files: []*tags{
				{Title: "A", Artists: list("Can"), AlbumArtists: list("Can"), Album: "Tago Mago", Number: 1, FolderKey: "f"},
				{Title: "B", Artists: list("Can"), Album: "Tago Mago", Number: 2, FolderKey: "f"},
				{Title: "C", Artists: list("Can", "Damo Suzuki"), Album: "Tago Mago", Number: 3, FolderKey: "f"},
			},
			albums: list("Can: Tago Mago ×3"), artists: list("Can", "Damo Suzuki"),
		},
		{
			name: "musicbrainz_ids_part_artists_of_one_name",
			files: []*tags{
				{Title: "A", Artists: list("Nirvana"), MusicbrainzArtistIds: list(mbA), Album: "Nevermind"},
				{Title: "B", Artists: list("Nirvana"), MusicbrainzArtistIds: list(mbB), Album: "All of Us"},
			},
			albums: list("Nirvana: All of Us ×1", "Nirvana: Nevermind ×1"), artists: list("Nirvana", "Nirvana"),
		},
		{
			name: "musicbrainz_ids_join_spellings",
			files: []*tags{
				{Title: "A", Artists: list("Prince"), MusicbrainzArtistIds: list(mbA), Album: "1999"},
				{Title: "B", Artists: list("Prince"), MusicbrainzArtistIds: list(mbA), Album: "Parade"},
				{Title: "C", Artists: list("The Artist"), MusicbrainzArtistIds: list(mbA), Album: "Come"},
			},
			albums: list("Prince: 1999 ×1", "Prince: Come ×1", "Prince: Parade ×1"), artists: list("Prince"),
		},
		{
			name: "half_of_the_files_have_musicbrainz_ids",
			files: []*tags{
				{Title: "A", Artists: list("Can"), Album: "Tago Mago", Number: 1},
				{Title: "B", Artists: list("Can"), MusicbrainzArtistIds: list(mbA), MusicbrainzAlbumId: mbB, Album: "Tago Mago", Number: 2},
				{Title: "C", Artists: list("Can"), Album: "Tago Mago", Number: 3},
			},
			albums: list("Can: Tago Mago ×3"), artists: list("Can"),
		},
		{
			name: "musicbrainz_album_ids_part_editions",
			files: []*tags{
				{Title: "A", Artists: list("Can"), MusicbrainzAlbumId: mbA, Album: "Tago Mago", Number: 1, Date: "1971"},
				{Title: "A", Artists: list("Can"), MusicbrainzAlbumId: mbB, Album: "Tago Mago", Number: 1, Date: "2011"},
			},
			albums: list("Can: Tago Mago ×1 1971", "Can: Tago Mago ×1 2011"), artists: list("Can"),
		},
		{
			name: "ids_that_are_none_or_too_few_are_ignored",
			files: []*tags{
				{Title: "A", Artists: list("Can", "Neu!"), MusicbrainzArtistIds: list(mbA), MusicbrainzAlbumId: "unknown", Album: "X", Number: 1},
				{Title: "B", Artists: list("Can", "Neu!"), MusicbrainzArtistIds: list(mbB), MusicbrainzAlbumId: "none", Album: "X", Number: 2},
			},
			albums: list("Can: X ×2"), artists: list("Can", "Neu!"),
		},
		{
			name: "joint_album_artists_in_any_order",
			files: []*tags{
				{Title: "A", AlbumArtists: list("Jay-Z", "Kanye West"), Album: "Watch the Throne", Number: 1},
				{Title: "B", AlbumArtists: list("Jay-Z", "Kanye West"), Album: "Watch the Throne", Number: 2},
				{Title: "C", AlbumArtists: list("Kanye West", "JAY-Z"), Album: "Watch the Throne", Number: 3},
			},
			albums: list("Jay-Z, Kanye West: Watch the Throne ×3"), artists: list("Jay-Z", "Kanye West"), ordered: true,
		},
		{
			name: "text_that_turns_direction_or_is_not_seen",
			files: []*tags{
				{Title: "A", Artists: list("Ca\u202en"), Album: "Ta\u200bgo"}, {Title: "B", Artists: list("Can"), Album: "Tago"},
				{Title: "C", Artists: list("\u202e\u200b"), Album: "\u0007"},
			},
			albums: list("Can: Tago ×2", "Unknown artist: Unknown album ×1"), artists: list("Can", "Unknown artist"),
		},
	}
	for _, tt := range tests {
		for _, reverse := range []bool{false, true} {
			if reverse && tt.ordered {
				continue
			}
			t.Run(fmt.Sprintf("%s/reverse=%t", tt.name, reverse), func(t *testing.T) {
				f := setUp(t)
				for i := range tt.files {
					if reverse {
						i = len(tt.files) - 1 - i
					}
					f.put(t, fmt.Sprintf("file %d", i), tt.files[i])
				}
				f.spread(t)
				if diff := cmp.Diff(slices.Sorted(slices.Values(tt.albums)), f.albums(t)); diff != "" {
					t.Errorf("albums (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(slices.Sorted(slices.Values(tt.artists)), f.artists(t)); diff != "" {
					t.Errorf("artists (-want +got):\n%s", diff)
				}
			})
		}
	}
}
