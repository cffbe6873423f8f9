package artwork

import (
	"image"
	"math"
)

// Accent is the colour that a page around a cover takes on.
type Accent struct {
	// Mean is the mean colour, as sRGB bytes: a placeholder.
	Mean [3]uint8
	// Hue is in degrees from 0 to 360 and Chroma in OKLCH units, of the
	// strongest hue. Coloured is false for a cover with too little colour; Hue
	// and Chroma are then 0 and the default accent is to be used.
	Hue, Chroma float64
	Coloured    bool
}

// Bytes packs hue and chroma: hue in 256 steps of the circle, chroma in steps of
// 0.0016. {0, 0} means no colour: a coloured accent has a chroma of at least 1
// step.
func (a Accent) Bytes() [2]uint8 {
	if !a.Coloured {
		return [2]uint8{}
	}
	return [2]uint8{
		uint8(int(math.Round(a.Hue*256/360)) & 255),
		uint8(min(max(math.Round(a.Chroma/chromaStep), 1), 255)),
	}
}

const (
	accentSide = 48
	hueBins    = 24
	chromaStep = 0.0016
	// Pixels with less chroma, or so dark or bright, have no hue to speak of.
	minChroma, minLight, maxLight = 0.04, 0.15, 0.95
	// minColoured is the share of coloured pixels under which a cover is grey.
	minColoured = 0.03
)

// FindAccent finds the accent of img: scaled to 48 by 48 pixels, in 24 bins of
// hue weighted by chroma, the mean hue and chroma of the heaviest bin.
func FindAccent(img image.Image) Accent {
	small := fit(img, accentSide)
	var sum [3]float64 // OKLab
	var bins [hueBins]struct{ weight, a, b, chroma, n float64 }
	pixels, coloured := 0.0, 0.0
	for i := 0; i+3 < len(small.Pix); i += 4 {
		light, a, b := oklab(small.Pix[i], small.Pix[i+1], small.Pix[i+2])
		sum[0], sum[1], sum[2] = sum[0]+light, sum[1]+a, sum[2]+b
		pixels++
		chroma := math.Hypot(a, b)
		if chroma < minChroma || light < minLight || light > maxLight {
			continue
		}
		coloured++
		bin := &bins[int(hue(a, b)/360*hueBins)%hueBins]
		bin.weight += chroma
		bin.a, bin.b = bin.a+a, bin.b+b
		bin.chroma += chroma
		bin.n++
	}
	var out Accent
	if pixels == 0 {
		return out
	}
	out.Mean = srgb(sum[0]/pixels, sum[1]/pixels, sum[2]/pixels)
	if coloured < minColoured*pixels {
		return out
	}
	best := bins[0]
	for _, b := range bins[1:] {
		if b.weight > best.weight {
			best = b
		}
	}
	out.Coloured = true
	out.Hue, out.Chroma = hue(best.a, best.b), best.chroma/best.n
	return out
}

// hue is the angle of a and b in degrees, from 0 to 360.
func hue(a, b float64) float64 {
	h := math.Atan2(b, a) * 180 / math.Pi
	if h < 0 {
		h += 360
	}
	return h
}

// oklab converts from sRGB (Björn Ottosson, "A perceptual color space for image
// processing", 2020).
func oklab(r8, g8, b8 uint8) (light, a, b float64) {
	r, g, bl := linear(r8), linear(g8), linear(b8)
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*bl)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*bl)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*bl)
	return 0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*s
}

// srgb converts back, clipped to the gamut.
func srgb(light, a, b float64) [3]uint8 {
	l := light + 0.3963377774*a + 0.2158037573*b
	m := light - 0.1055613458*a - 0.0638541728*b
	s := light - 0.0894841775*a - 1.2914855480*b
	l, m, s = l*l*l, m*m*m, s*s*s
	return [3]uint8{
		encoded(4.0767416621*l - 3.3077115913*m + 0.2309699292*s),
		encoded(-1.2684380046*l + 2.6097574011*m - 0.3413193965*s),
		encoded(-0.0041960863*l - 0.7034186147*m + 1.7076147010*s),
	}
}

func linear(v uint8) float64 {
	x := float64(v) / 255
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

func encoded(x float64) uint8 {
	if x <= 0.0031308 {
		x *= 12.92
	} else {
		x = 1.055*math.Pow(x, 1/2.4) - 0.055
	}
	return uint8(math.Round(min(max(x, 0), 1) * 255))
}
