"""How hard the synthetic people are: every knob in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SyntheticDifficulty:
    """Knobs of the drawing. The defaults are calibrated; docs/datasets.md has the measurements.

    Evidence that both modalities share:
        plain_share: share of people whose upper garment has no pattern, in [0, 1].
        contrast_share: share of neighbouring garments (upper and lower, upper and bag, lower and shoes) of which
            one is dark and the other light, drawn apart in each modality, in [0, 1].
        bag_share: share of people with a bag, in [0, 1].
        hat_share: share of people with a hat, in [0, 1].
        polarity_agreement: chance that a garment is on the same side, dark or light, in both modalities; at 0.5
            infrared brightness says nothing about visible brightness.
    Evidence of one modality only; what a network uses instead of the above, if it can:
        saturation: largest saturation of a garment's colour, in [0, 1].
        tone_spread: half range of brightness, and of infrared reflectance, about dark or light.
    Nuisances of an image:
        scale_jitter: half range of the person's size, as a share of it.
        shift_jitter: half range of the person's place in the frame, as a share of the frame.
        pose_jitter: half range of arm and leg angles, in radians.
        lean_jitter: half range of the lean, as a sideways shift per height.
        narrowing: largest loss of width by turning away, as a share.
        mirror_share: share of images where the person is seen mirrored.
        exposure_jitter: half range of the logarithm of an image's own brightness gain.
        occlusion_share: share of images with something in front.
        occlusion_size: largest share of the frame that it hides.
        pixel_noise: largest standard deviation of pixel noise of a visible camera, of 1 = white; infrared cameras
            have one and a half times as much.
    Nuisances of a camera:
        gain_range: half range of the logarithm of the brightness gain.
        tint_range: half range of the logarithm of each visible channel's gain.
        blur: largest blur, in [0, 1], of a 3x3 kernel.
        background_contrast: brightness range of the background's texture.
    """

    plain_share: float = 0.05
    contrast_share: float = 0.95
    polarity_agreement: float = 0.5
    saturation: float = 0.5
    tone_spread: float = 0.04
    bag_share: float = 0.7
    hat_share: float = 0.55
    scale_jitter: float = 0.06
    shift_jitter: float = 0.06
    pose_jitter: float = 0.07
    lean_jitter: float = 0.02
    narrowing: float = 0.08
    mirror_share: float = 0.05
    exposure_jitter: float = 0.15
    occlusion_share: float = 0.05
    occlusion_size: float = 0.2
    pixel_noise: float = 0.04
    gain_range: float = 0.2
    tint_range: float = 0.15
    blur: float = 0.5
    background_contrast: float = 0.25
